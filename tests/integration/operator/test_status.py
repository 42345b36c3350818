"""Missing and wrong objects: reported in the status, which recovers when they are corrected."""

from typing import Any

import pytest

from harness.services import ServiceProcess, eventually
from tests.integration.operator.namespace_api import (
    OURS,
    Manifest,
    NamespaceApi,
    config_map,
    example,
    secret,
)
from tests.integration.operator.test_definitions import changed, renamed

CORE, SPACE = example("core.yaml"), example("img-ingest.yaml")
WEB, PROXY = example("img-ingest-web.yaml"), example("ward7.yaml")
INGESTION = "img-ingest-ingestion"


def extra(api_version: str, kind: str) -> Manifest:
    """Return an object of a kind that the operator has no rights to."""
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}}


@pytest.fixture
def space(api: NamespaceApi, operator: ServiceProcess) -> Manifest:
    """Return the example, Ready."""
    api.create_referenced_objects()
    api.apply(CORE)
    api.apply(SPACE)
    api.set_pods("core-catalogue")
    api.set_pods(INGESTION)
    api.wait_for_phase(SPACE, "Ready")
    return SPACE


def deployment(api: NamespaceApi, name: str = INGESTION) -> Manifest:
    match = api.get("apps/v1", "Deployment", name)
    assert match is not None
    return match


def container(api: NamespaceApi, name: str = INGESTION) -> dict[str, Any]:
    (only,) = deployment(api, name)["spec"]["template"]["spec"]["containers"]
    return dict(only)


def test_each_missing_thing_is_named_until_it_exists(
    api: NamespaceApi, operator: ServiceProcess
) -> None:
    api.apply(SPACE)
    api.set_pods(INGESTION)
    for missing, cure in (
        ("Missing bucket ConfigMap img-ingest-s3", config_map("img-ingest-s3", BUCKET_NAME="b")),
        ("Missing bucket Secret img-ingest-s3", secret("img-ingest-s3", AWS_ACCESS_KEY_ID="k")),
        (
            "Missing NATS credential Secret nats-dicom-ingest-token-lhllv",
            secret("nats-dicom-ingest-token-lhllv", token="t"),
        ),
        ("Missing catalogue core", CORE),
    ):
        api.wait_for_phase(SPACE, "Pending", missing)
        api.wait_for_event("img-ingest", missing)
        api.apply(cure)
    api.wait_for_phase(SPACE, "Ready")


def test_what_was_ready_and_lacks_something_is_degraded(api: NamespaceApi, space: Manifest) -> None:
    api.delete("v1", "Secret", "img-ingest-s3")
    status = api.wait_for_phase(space, "Degraded", "Missing bucket Secret img-ingest-s3.")
    assert status["ready"] is False
    api.create_referenced_objects()
    api.wait_for_phase(space, "Ready")
    api.set_pods(INGESTION, available=1)
    api.wait_for_phase(space, "Degraded", f"Deployment {INGESTION} has 1 of 2 pods ready")


@pytest.mark.parametrize(
    "edit",
    [
        {"spec": {"replicas": 7}},
        {"metadata": {"labels": {"app.kubernetes.io/component": "other"}}},
        {"spec": {"template": {"spec": {"serviceAccountName": "other"}}}},
        {"spec": {"template": {"spec": {"containers": [{"name": "ingestion", "image": "other"}]}}}},
    ],
    ids=["replicas", "label", "account", "container"],
)
def test_what_is_edited_by_hand_is_put_right(
    api: NamespaceApi, space: Manifest, edit: dict[str, Any]
) -> None:
    before = deployment(api)
    api.patch("apps/v1", "Deployment", INGESTION, edit)
    eventually(lambda: _observed(deployment(api)), lambda seen: seen == _observed(before))


def test_what_is_deleted_by_hand_is_made_again(api: NamespaceApi, space: Manifest) -> None:
    before = api.release_objects()
    api.delete("v1", "Service", INGESTION)
    api.delete("networking.k8s.io/v1", "NetworkPolicy", INGESTION)
    api.delete("apps/v1", "Deployment", INGESTION)
    eventually(api.release_objects, lambda seen: seen == before)


def test_a_change_of_the_spec_reaches_the_pods(api: NamespaceApi, space: Manifest) -> None:
    api.apply(changed(SPACE, image="registry.example.org/other:2", natsSubjectRoot="OTHER"))
    eventually(lambda: container(api)["image"], lambda seen: seen == "registry.example.org/other:2")
    variables = {each["name"]: each.get("value") for each in container(api)["env"]}
    assert variables["DIMSE_NATS_SUBJECT_ROOT"] == "OTHER"
    api.wait_for_phase(SPACE, "Progressing", "replaces its pods")
    api.set_pods(INGESTION)
    assert api.wait_for_phase(SPACE, "Ready")["observedGeneration"] == 2


def test_objects_that_the_spec_no_longer_names_are_deleted(
    api: NamespaceApi, space: Manifest
) -> None:
    assert f"PodDisruptionBudget/{INGESTION}" in api.release_objects()
    api.patch(OURS, "DimseIngestionService", "img-ingest", {"spec": {"replicas": 1}}, "scale")
    eventually(api.release_objects, lambda seen: f"PodDisruptionBudget/{INGESTION}" not in seen)
    assert deployment(api)["spec"]["replicas"] == 1
    eventually(
        lambda: api.status(SPACE)["secondaryResources"],
        lambda seen: "PodDisruptionBudget" not in seen,
    )


def test_an_autoscaler_decides_on_replicas_where_it_is_requested(
    api: NamespaceApi, space: Manifest
) -> None:
    api.apply(changed(SPACE, values={"ingestion": {"autoscaling": {"enabled": True}}}))
    eventually(api.release_objects, lambda seen: f"HorizontalPodAutoscaler/{INGESTION}" in seen)
    api.patch("apps/v1", "Deployment", INGESTION, {"spec": {"replicas": 5}})
    api.set_pods(INGESTION)
    api.wait_for_phase(SPACE, "Ready")
    assert deployment(api)["spec"]["replicas"] == 5


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"ingestoin": {}}, "ingestoin"),
        ({"natsUrl": "nats:4222"}, "set it in spec.natsUrl"),
        ({"ingestion": {"enabled": False}}, "always runs it"),
        ({"catalogue": {"enabled": True}}, "There are two catalogues"),
        (
            {
                "proxy": {
                    "enabled": True,
                    "proxyId": "ward7",
                    "settings": {"acknowledge": "spooled"},
                }
            },
            "set proxy.spoolVolume to a persistentVolumeClaim",
        ),
        (
            {"extraObjects": [config_map("a") | {"metadata": {"name": "a", "namespace": "kube"}}]},
            "is in namespace kube",
        ),
        (
            {"extraObjects": [extra("no.such/v1", "No")]},
            "The cluster knows no No (no.such/v1)",
        ),
        (
            {"extraObjects": [extra("rbac.authorization.k8s.io/v1", "Role")]},
            "rbac.extraRules",
        ),
        (
            {"extraObjects": [extra("v1", "Namespace")]},
            "belongs to no namespace",
        ),
        ({"extraObjects": ["kind: [unclosed"]}, "is not YAML"),
        ({"extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap"}]}, "no valid metadata.name"),
        ({"extraObjects": [extra("apps/v1", "Deployment")]}, "This release can't be applied"),
    ],
)
def test_a_bad_spec_fails_with_its_sentence_and_holds_up_no_other(
    api: NamespaceApi, operator: ServiceProcess, values: dict[str, Any], text: str
) -> None:
    api.create_referenced_objects()
    api.apply(CORE)
    bad = changed(renamed(SPACE, "bad"), values=values)
    api.apply(bad)
    api.apply(SPACE)
    api.set_pods("core-catalogue")
    api.set_pods(INGESTION)
    api.wait_for_phase(SPACE, "Ready")
    api.wait_for_phase(bad, "Failed", text)
    api.apply(renamed(SPACE, "bad"))
    api.set_pods("bad-ingestion")
    api.wait_for_phase(bad, "Ready")


def test_a_quota_is_reported_as_one(api: NamespaceApi, operator: ServiceProcess) -> None:
    hard = {"count/services": "0"}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}}
    api.apply(quota | {"spec": {"hard": hard}})
    # no controller counts here
    status = {"status": {"hard": hard, "used": hard}}
    api.patch("v1", "ResourceQuota", "none", status, "status")
    api.apply(SPACE)
    message = api.wait_for_phase(SPACE, "Failed", "exceeded quota: none")["message"]
    assert "rbac" not in message


FOR_EVER = """apiVersion: v1
kind: ConfigMap
metadata: {name: a}
data: {a: "{{ range until 100000 }}{{ range until 20000 }}{{ end }}{{ end }}"}
"""


def test_a_template_without_end_holds_up_no_other(
    api: NamespaceApi, operator: ServiceProcess
) -> None:
    bad = [renamed(SPACE, f"bad{number}") for number in range(4)]
    for each in bad:
        api.apply(changed(each, values={"extraObjects": [FOR_EVER]}))
    api.apply(SPACE)
    # the templates have five seconds each, one after another
    eventually(
        lambda: api.get("apps/v1", "Deployment", INGESTION),
        lambda seen: seen is not None and operator.get("/livez")[0] == 200,
    )
    assert not all(api.status(each) for each in bad)
    for each in bad:
        api.wait_for_phase(each, "Failed", "extraObjects are not rendered within 5 s")
    assert "dimse_operator_leading 1.0" in operator.get("/metrics")[1]


def test_what_was_ready_and_breaks_is_reported(
    api: NamespaceApi, space: Manifest, operator: ServiceProcess
) -> None:
    api.apply(changed(SPACE, values={"extraObjects": [extra("apps/v1", "Deployment")]}))
    status = api.wait_for_phase(SPACE, "Failed", "This release can't be applied")
    assert status["observedGeneration"] == 2
    eventually(
        lambda: api.events("img-ingest"),
        lambda seen: any("This release can't be applied" in each for each in seen),
    )
    assert 'outcome="failed"' in operator.get("/metrics")[1]


def test_what_is_foreign_is_not_taken_over(api: NamespaceApi, operator: ServiceProcess) -> None:
    api.create_referenced_objects()
    api.apply(CORE)
    foreign = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": INGESTION},
        "spec": {"ports": [{"port": 1}], "selector": {"app": "foreign"}},
    }
    api.apply(foreign)
    api.apply(SPACE)
    api.wait_for_phase(
        SPACE, "Failed", f"Service {INGESTION} exists and does not belong to this resource"
    )
    existing = api.get("v1", "Service", INGESTION)
    assert existing is not None
    assert existing["spec"]["selector"] == {"app": "foreign"}
    api.delete("v1", "Service", INGESTION)
    api.set_pods(INGESTION)
    api.wait_for_phase(SPACE, "Ready")


def test_of_two_that_make_the_same_one_is_refused_with_the_owner(
    api: NamespaceApi, space: Manifest
) -> None:
    api.apply(renamed(CORE, "img-ingest"))
    api.wait_for_phase(renamed(CORE, "img-ingest"), "Progressing")
    own = changed(SPACE, dicomEventDrivenIngestionName="")
    api.apply(own)
    status = api.wait_for_phase(
        own, "Failed", "belongs to the DicomEventDrivenIngestion img-ingest"
    )
    assert "delete it" not in status["message"]


def test_an_ingress_waits_for_its_certificate(api: NamespaceApi, space: Manifest) -> None:
    api.delete("v1", "Secret", "images-tls")
    api.apply(WEB)
    api.wait_for_phase(WEB, "Pending", "Missing Ingress certificate Secret images-tls.")
    api.apply(secret("images-tls", **{"tls.crt": "certificate", "tls.key": "key"}))
    api.set_pods("img-ingest-dicomweb")
    api.wait_for_phase(WEB, "Ready")


def test_resources_of_one_name_live_beside_each_other(api: NamespaceApi, space: Manifest) -> None:
    api.apply(WEB)
    api.set_pods("img-ingest-dicomweb")
    api.wait_for_phase(WEB, "Ready")
    api.delete(OURS, "DicomwebIngestionService", "img-ingest")
    eventually(api.release_objects, lambda seen: not any("dicomweb" in each for each in seen), 60)
    api.wait_for_phase(SPACE, "Ready")
    assert f"Deployment/{INGESTION}" in api.release_objects()


def test_a_retained_claim_is_adopted_again(api: NamespaceApi, space: Manifest) -> None:
    claim = api.get("v1", "PersistentVolumeClaim", "core-catalogue")
    api.delete(OURS, "DicomEventDrivenIngestion", "core")
    eventually(api.release_objects, lambda seen: "Deployment/core-catalogue" not in seen, 60)
    api.wait_for_phase(SPACE, "Degraded", "Missing catalogue core")
    api.apply(CORE)
    api.set_pods("core-catalogue")
    api.wait_for_phase(CORE, "Ready")
    api.wait_for_phase(SPACE, "Ready")
    again = api.get("v1", "PersistentVolumeClaim", "core-catalogue")
    assert claim is not None
    assert again is not None
    assert again["metadata"]["uid"] == claim["metadata"]["uid"]


def test_a_proxy_starts_anew_with_a_new_certificate(
    api: NamespaceApi, operator: ServiceProcess
) -> None:
    api.apply(secret("nats-ward7", token="token"))
    api.apply(secret("ward7-dicom-tls", **{"tls.crt": "first", "tls.key": "key"}))
    api.apply(PROXY)
    api.set_pods("ward7-proxy")
    api.wait_for_phase(PROXY, "Ready")
    before = deployment(api, "ward7-proxy")["metadata"]["generation"]
    api.apply(secret("ward7-dicom-tls", **{"tls.crt": "second", "tls.key": "key"}))
    eventually(
        lambda: deployment(api, "ward7-proxy")["metadata"]["generation"],
        lambda seen: seen > before,
    )
    api.wait_for_phase(PROXY, "Progressing")


def test_nothing_is_written_where_nothing_changes(api: NamespaceApi, space: Manifest) -> None:
    """Else the operator would answer its own writing for ever."""

    def version() -> tuple[str, ...]:
        resource = api.get(OURS, "DimseIngestionService", "img-ingest")
        assert resource is not None
        made = deployment(api)
        return resource["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]

    before = version()
    api.apply(config_map("img-ingest-s3", BUCKET_NAME="other"))  # has the space looked at
    api.apply(renamed(SPACE, "after"))
    api.wait_for_phase(renamed(SPACE, "after"), "Progressing")
    assert version() == before


def _observed(manifest: Manifest) -> tuple[Any, ...]:
    """Return the fields of a Deployment that the edits touch."""
    pod = manifest["spec"]["template"]["spec"]
    return (
        manifest["spec"]["replicas"],
        manifest["metadata"]["labels"],
        pod.get("serviceAccountName"),
        [(each["name"], each["image"], each.get("env")) for each in pod["containers"]],
    )
