"""A storage space from its resource's creation to its deletion, the issue's example unchanged."""

from harness.services import ServiceProcess, eventually
from tests.integration.operator.asked import OURS, Asked, example

CORE, SPACE = example("core.yaml"), example("img-ingest.yaml")


def test_the_example_becomes_ready_and_goes_without_a_trace(
    asked: Asked, operator: ServiceProcess
) -> None:
    asked.make_what_is_named()
    asked.apply(CORE)
    asked.apply(SPACE)
    for name in ("core-catalogue", "img-ingest-ingestion"):
        asked.have_pods(name)
    status = asked.phase(SPACE, "Ready")
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
    asked.phase(CORE, "Ready")
    asked.delete(OURS, "DimseIngestionService", "img-ingest")
    asked.delete(OURS, "DicomEventDrivenIngestion", "core")
    # the claim is kept, as the example asks for
    eventually(asked.made, lambda seen: seen == {"PersistentVolumeClaim/core-catalogue"}, 60)
    assert asked.named("v1", "ConfigMap") == {"img-ingest-s3"}
    left = {"img-ingest-s3", "nats-dicom-ingest-token-lhllv", "images-tls"}
    eventually(lambda: asked.named("v1", "Secret"), lambda seen: seen == left, 60)
