"""What the API server makes of the definitions: it refuses, defaults, and serves two versions."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.api_server import ApiServer
from harness.services import ServiceProcess
from tests.integration.operator.conftest import operator_process
from tests.integration.operator.namespace_api import GROUP, OURS, Manifest, NamespaceApi, example

SPACE, WEB = example("img-ingest.yaml"), example("img-ingest-web.yaml")
CORE, PROXY = example("core.yaml"), example("ward7.yaml")
DEFINITION = f"dimseingestionservices.{GROUP}"


def changed(manifest: Manifest, **spec: Any) -> Manifest:
    """Return the resource with fields of its spec changed; None takes one out."""
    result = copy.deepcopy(manifest)
    result["spec"] = {
        name: content
        for name, content in (result.get("spec", {}) | spec).items()
        if content is not None
    }
    return result


def renamed(manifest: Manifest, name: str) -> Manifest:
    return copy.deepcopy(manifest) | {"metadata": {"name": name}}


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (changed(SPACE, applicationEntityTitle="A" * 17), "may not be more than 16"),
        (changed(SPACE, applicationEntityTitle="WARD\\7"), "an AE title has 1 to 16"),
        (changed(SPACE, applicationEntityTitle="   "), "an AE title has 1 to 16"),
        (changed(SPACE, natsSubjectRoot="DIMSE.>"), "a subject root is one or more tokens"),
        (changed(SPACE, natsSubjectRoot="DIMSE..A"), "a subject root is one or more tokens"),
        (changed(SPACE, natsSubjectRoot="A" * 65), "a subject root is one or more tokens"),
        (changed(SPACE, natsUrl="nats://user:pw@nats:4222"), "no credential stands in natsUrl"),
        (changed(SPACE, natsUrl=None), "natsUrl: Required"),
        (changed(SPACE, providerName=None), "providerName: Required"),
        (changed(SPACE, bucketSecretName=None), "bucketSecretName names the Secret"),
        (changed(SPACE, bucketSecretName="Not_A_Name"), "bucketSecretName"),
        (changed(SPACE, replicas=-1), "replicas"),
        (changed(SPACE, imagePullPolicy="Sometimes"), "imagePullPolicy"),
        (changed(SPACE, natsSecure="yes"), "natsSecure"),
        (changed(WEB, dicomEventDrivenIngestionName=None), "dicomEventDrivenIngestionName"),
        (changed(CORE, replicas=2), "more than one replica needs PostgreSQL"),
        (changed(PROXY, tlsSecret=None, tlsClientCaSecret="ca"), "needs a certificate"),
        (renamed(SPACE, "img.ingest"), "the name begins with a letter"),
        (renamed(SPACE, "7-ingest"), "the name begins with a letter"),
        (renamed(SPACE, "i" * 47), "the name begins with a letter"),
    ],
)
def test_what_can_only_be_wrong_is_refused(
    api: NamespaceApi, manifest: Manifest, message: str
) -> None:
    assert message in api.refused(manifest)


@pytest.mark.parametrize("manifest", [SPACE, WEB, CORE, PROXY], ids=lambda each: each["kind"])
def test_examples_are_taken(api: NamespaceApi, manifest: Manifest) -> None:
    assert api.apply(manifest)["spec"]["imagePullPolicy"] == "IfNotPresent"


def test_provider_name_must_not_change_and_all_else_may(api: NamespaceApi) -> None:
    api.apply(SPACE)
    assert "providerName must not change" in api.refused(changed(SPACE, providerName="other"))
    api.apply(changed(SPACE, natsSubjectRoot="OTHER", bucketConfigName="other"))


def test_what_is_not_set_is_the_charts_default(api: NamespaceApi) -> None:
    fewest = changed(SPACE, applicationEntityTitle=None, natsSubjectRoot=None, natsSecure=None)
    spec = api.apply(fewest)["spec"]
    assert spec["applicationEntityTitle"] == "DICOM-INGEST"
    assert spec["natsSubjectRoot"] == "DIMSE"
    assert spec["natsSecure"] is True
    assert spec["replicas"] == 2
    assert "image" not in spec


def test_a_catalogue_needs_no_spec(api: NamespaceApi) -> None:
    bare = {"apiVersion": OURS, "kind": "DicomEventDrivenIngestion", "metadata": {"name": "core"}}
    assert api.apply(bare)["spec"]["replicas"] == 1


def test_an_open_field_is_stored_unchanged(api: NamespaceApi) -> None:
    values = {"ingestion": {"podLabels": {"ward": "7"}}, "extraObjects": [{"a": [1, 2.5, None]}]}
    assert api.apply(changed(SPACE, values=values))["spec"]["values"] == values


@pytest.fixture
def two_versions(api: NamespaceApi) -> Iterator[None]:
    """Yield the definition with a second version served, as a later release may have it."""
    definition = api.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", DEFINITION)
    assert definition is not None
    (first,) = definition["spec"]["versions"]
    second = copy.deepcopy(first) | {"name": "v1beta1", "storage": False}
    second["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["added"] = {
        "type": "string"
    }
    api.define(DEFINITION, [first, second])
    yield
    api.delete_resources()
    api.define(DEFINITION, [first])


def test_operator_goes_on_with_two_versions(
    api: NamespaceApi, server: ApiServer, two_versions: None, tmp_path: Path
) -> None:
    api.create_referenced_objects()
    api.apply(CORE)
    api.apply(SPACE)
    api.apply(renamed(SPACE, "newer") | {"apiVersion": f"{GROUP}/v1beta1"})
    process = operator_process(server, tmp_path / "operator.log", api.namespace)
    try:
        _both_become_ready(process, api)
    finally:
        process.kill()


def _both_become_ready(process: ServiceProcess, api: NamespaceApi) -> None:
    process.start().ready()
    for name in ("img-ingest", "newer"):
        api.set_pods(f"{name}-ingestion")
        api.wait_for_phase(renamed(SPACE, name), "Ready")
