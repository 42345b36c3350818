"""A storage space from its resource's creation to its deletion, the issue's example unchanged."""

from harness.services import ServiceProcess, eventually
from tests.integration.operator.namespace_api import OURS, NamespaceApi, example

CORE, SPACE = example("core.yaml"), example("img-ingest.yaml")


def test_the_example_becomes_ready_and_goes_without_a_trace(
    api: NamespaceApi, operator: ServiceProcess
) -> None:
    api.create_referenced_objects()
    api.apply(CORE)
    api.apply(SPACE)
    for name in ("core-catalogue", "img-ingest-ingestion"):
        api.set_pods(name)
    status = api.wait_for_phase(SPACE, "Ready")
    assert status["ready"] is True
    assert status["observedGeneration"] == 1
    assert status["replicas"] == 2
    assert "app.kubernetes.io/component=ingestion" in status["selector"]
    assert status["secondaryResources"]["Deployment"] == ["img-ingest-ingestion"]
    assert {each["type"]: each["status"] for each in status["conditions"]} == {
        "Released": "True",
        "ReferencesFound": "True",
        "Ready": "True",
    }
    api.wait_for_phase(CORE, "Ready")
    api.delete(OURS, "DimseIngestionService", "img-ingest")
    api.delete(OURS, "DicomEventDrivenIngestion", "core")
    # the claim is kept, as the example asks for
    eventually(
        api.release_objects, lambda seen: seen == {"PersistentVolumeClaim/core-catalogue"}, 60
    )
    assert api.names("v1", "ConfigMap") == {"img-ingest-s3"}
    left = {"img-ingest-s3", "nats-dicom-ingest-token-lhllv", "images-tls"}
    eventually(lambda: api.names("v1", "Secret"), lambda seen: seen == left, 60)
