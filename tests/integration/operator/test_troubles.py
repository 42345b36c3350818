"""What may be missing, wrong or in the way: told in a sentence, and put right by itself."""

from typing import Any

import pytest

from harness.services import ServiceProcess, eventually
from tests.integration.operator.asked import OURS, Asked, Manifest, config_map, example, secret
from tests.integration.operator.test_definitions import changed, renamed

CORE, SPACE = example("core.yaml"), example("img-ingest.yaml")
WEB, PROXY = example("img-ingest-web.yaml"), example("ward7.yaml")
INGESTION = "img-ingest-ingestion"


def extra(api_version: str, kind: str) -> Manifest:
    """An object of a kind that the operator has no rights to."""
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}}


@pytest.fixture
def space(asked: Asked, operator: ServiceProcess) -> Manifest:
    """The example, Ready."""
    asked.make_what_is_named()
    asked.apply(CORE)
    asked.apply(SPACE)
    asked.have_pods("core-catalogue")
    asked.have_pods(INGESTION)
    asked.phase(SPACE, "Ready")
    return SPACE


def deployment(asked: Asked, name: str = INGESTION) -> Manifest:
    found = asked.found("apps/v1", "Deployment", name)
    assert found is not None
    return found


def container(asked: Asked, name: str = INGESTION) -> dict[str, Any]:
    (only,) = deployment(asked, name)["spec"]["template"]["spec"]["containers"]
    return dict(only)


def test_each_missing_thing_is_named_until_it_is_there(
    asked: Asked, operator: ServiceProcess
) -> None:
    asked.apply(SPACE)
    asked.have_pods(INGESTION)
    for missing, cure in (
        ("Missing bucket ConfigMap img-ingest-s3", config_map("img-ingest-s3", BUCKET_NAME="b")),
        ("Missing bucket Secret img-ingest-s3", secret("img-ingest-s3", AWS_ACCESS_KEY_ID="k")),
        (
            "Missing NATS credential Secret nats-dicom-ingest-token-lhllv",
            secret("nats-dicom-ingest-token-lhllv", token="t"),
        ),
        ("Missing catalogue core", CORE),
    ):
        asked.phase(SPACE, "Pending", missing)
        eventually(
            lambda missing=missing: asked.events("img-ingest"),
            lambda seen, missing=missing: any(missing in each for each in seen),
        )
        asked.apply(cure)
    asked.phase(SPACE, "Ready")


def test_what_was_ready_and_lacks_something_is_degraded(asked: Asked, space: Manifest) -> None:
    asked.delete("v1", "Secret", "img-ingest-s3")
    status = asked.phase(space, "Degraded", "Missing bucket Secret img-ingest-s3.")
    assert status["ready"] is False
    asked.make_what_is_named()
    asked.phase(space, "Ready")
    asked.have_pods(INGESTION, available=1)
    asked.phase(space, "Degraded", f"Deployment {INGESTION} has 1 of 2 pods ready")


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
    asked: Asked, space: Manifest, edit: dict[str, Any]
) -> None:
    before = deployment(asked)
    asked.patch("apps/v1", "Deployment", INGESTION, edit)
    eventually(lambda: _said(deployment(asked)), lambda seen: seen == _said(before))


def test_what_is_deleted_by_hand_is_made_again(asked: Asked, space: Manifest) -> None:
    before = asked.made()
    asked.delete("v1", "Service", INGESTION)
    asked.delete("networking.k8s.io/v1", "NetworkPolicy", INGESTION)
    asked.delete("apps/v1", "Deployment", INGESTION)
    eventually(asked.made, lambda seen: seen == before)


def test_a_change_of_the_spec_reaches_the_pods(asked: Asked, space: Manifest) -> None:
    asked.apply(changed(SPACE, image="registry.example.org/other:2", natsSubjectRoot="OTHER"))
    eventually(
        lambda: container(asked)["image"], lambda seen: seen == "registry.example.org/other:2"
    )
    variables = {each["name"]: each.get("value") for each in container(asked)["env"]}
    assert variables["DIMSE_NATS_SUBJECT_ROOT"] == "OTHER"
    asked.phase(SPACE, "Progressing", "replaces its pods")
    asked.have_pods(INGESTION)
    assert asked.phase(SPACE, "Ready")["observedGeneration"] == 2


def test_what_the_spec_no_longer_asks_for_is_taken_away(asked: Asked, space: Manifest) -> None:
    assert f"PodDisruptionBudget/{INGESTION}" in asked.made()
    asked.patch(OURS, "DimseIngestionService", "img-ingest", {"spec": {"replicas": 1}}, "scale")
    eventually(asked.made, lambda seen: f"PodDisruptionBudget/{INGESTION}" not in seen)
    assert deployment(asked)["spec"]["replicas"] == 1
    eventually(
        lambda: asked.status(SPACE)["secondaryResources"],
        lambda seen: "PodDisruptionBudget" not in seen,
    )


def test_an_autoscaler_decides_on_replicas_where_it_is_asked_for(
    asked: Asked, space: Manifest
) -> None:
    asked.apply(changed(SPACE, values={"ingestion": {"autoscaling": {"enabled": True}}}))
    eventually(asked.made, lambda seen: f"HorizontalPodAutoscaler/{INGESTION}" in seen)
    asked.patch("apps/v1", "Deployment", INGESTION, {"spec": {"replicas": 5}})
    asked.have_pods(INGESTION)
    asked.phase(SPACE, "Ready")
    assert deployment(asked)["spec"]["replicas"] == 5


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"ingestoin": {}}, "ingestoin"),
        ({"natsUrl": "nats:4222"}, "set it in spec.natsUrl"),
        ({"ingestion": {"enabled": False}}, "runs it always"),
        ({"catalogue": {"enabled": True}}, "There are two catalogues"),
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
    asked: Asked, operator: ServiceProcess, values: dict[str, Any], said: str
) -> None:
    asked.make_what_is_named()
    asked.apply(CORE)
    bad = changed(renamed(SPACE, "bad"), values=values)
    asked.apply(bad)
    asked.apply(SPACE)
    asked.have_pods("core-catalogue")
    asked.have_pods(INGESTION)
    asked.phase(SPACE, "Ready")
    asked.phase(bad, "Failed", said)
    asked.apply(renamed(SPACE, "bad"))
    asked.have_pods("bad-ingestion")
    asked.phase(bad, "Ready")


def test_a_quota_is_told_as_one(asked: Asked, operator: ServiceProcess) -> None:
    hard = {"count/services": "0"}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}}
    asked.apply(quota | {"spec": {"hard": hard}})
    # no controller counts here
    status = {"status": {"hard": hard, "used": hard}}
    asked.patch("v1", "ResourceQuota", "none", status, "status")
    asked.apply(SPACE)
    message = asked.phase(SPACE, "Failed", "exceeded quota: none")["message"]
    assert "rbac" not in message


FOR_EVER = """apiVersion: v1
kind: ConfigMap
metadata: {name: a}
data: {a: "{{ range until 100000 }}{{ range until 20000 }}{{ end }}{{ end }}"}
"""


def test_a_template_without_end_holds_up_no_other(asked: Asked, operator: ServiceProcess) -> None:
    bad = [renamed(SPACE, f"bad{number}") for number in range(4)]
    for each in bad:
        asked.apply(changed(each, values={"extraObjects": [FOR_EVER]}))
    asked.apply(SPACE)
    # the templates have five seconds each, one after another
    eventually(
        lambda: asked.found("apps/v1", "Deployment", INGESTION),
        lambda seen: seen is not None and operator.get("/livez")[0] == 200,
    )
    assert not all(asked.status(each) for each in bad)
    for each in bad:
        asked.phase(each, "Failed", "extraObjects are not rendered within 5 s")
    assert "dimse_operator_leading 1.0" in operator.get("/metrics")[1]


def test_what_was_ready_and_breaks_is_told(
    asked: Asked, space: Manifest, operator: ServiceProcess
) -> None:
    asked.apply(changed(SPACE, values={"extraObjects": [extra("apps/v1", "Deployment")]}))
    status = asked.phase(SPACE, "Failed", "This release can't be applied")
    assert status["observedGeneration"] == 2
    eventually(
        lambda: asked.events("img-ingest"),
        lambda seen: any("This release can't be applied" in each for each in seen),
    )
    assert 'outcome="failed"' in operator.get("/metrics")[1]


def test_what_is_anothers_is_not_taken_over(asked: Asked, operator: ServiceProcess) -> None:
    asked.make_what_is_named()
    asked.apply(CORE)
    foreign = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": INGESTION},
        "spec": {"ports": [{"port": 1}], "selector": {"app": "foreign"}},
    }
    asked.apply(foreign)
    asked.apply(SPACE)
    asked.phase(SPACE, "Failed", f"Service {INGESTION} exists and does not belong to this resource")
    there = asked.found("v1", "Service", INGESTION)
    assert there is not None
    assert there["spec"]["selector"] == {"app": "foreign"}
    asked.delete("v1", "Service", INGESTION)
    asked.have_pods(INGESTION)
    asked.phase(SPACE, "Ready")


def test_two_that_make_the_same_are_told_whose_it_is(asked: Asked, space: Manifest) -> None:
    asked.apply(renamed(CORE, "img-ingest"))
    asked.phase(renamed(CORE, "img-ingest"), "Progressing")
    own = changed(SPACE, dicomEventDrivenIngestionName="")
    asked.apply(own)
    status = asked.phase(own, "Failed", "belongs to the DicomEventDrivenIngestion img-ingest")
    assert "delete it" not in status["message"]


def test_an_ingress_waits_for_its_certificate(asked: Asked, space: Manifest) -> None:
    asked.delete("v1", "Secret", "images-tls")
    asked.apply(WEB)
    asked.phase(WEB, "Pending", "Missing Ingress certificate Secret images-tls.")
    asked.apply(secret("images-tls", **{"tls.crt": "certificate", "tls.key": "key"}))
    asked.have_pods("img-ingest-dicomweb")
    asked.phase(WEB, "Ready")


def test_resources_of_one_name_live_beside_each_other(asked: Asked, space: Manifest) -> None:
    asked.apply(WEB)
    asked.have_pods("img-ingest-dicomweb")
    asked.phase(WEB, "Ready")
    asked.delete(OURS, "DicomwebIngestionService", "img-ingest")
    eventually(asked.made, lambda seen: not any("dicomweb" in each for each in seen), 60)
    asked.phase(SPACE, "Ready")
    assert f"Deployment/{INGESTION}" in asked.made()


def test_a_kept_claim_is_found_again(asked: Asked, space: Manifest) -> None:
    claim = asked.found("v1", "PersistentVolumeClaim", "core-catalogue")
    asked.delete(OURS, "DicomEventDrivenIngestion", "core")
    eventually(asked.made, lambda seen: "Deployment/core-catalogue" not in seen, 60)
    asked.phase(SPACE, "Degraded", "Missing catalogue core")
    asked.apply(CORE)
    asked.have_pods("core-catalogue")
    asked.phase(CORE, "Ready")
    asked.phase(SPACE, "Ready")
    again = asked.found("v1", "PersistentVolumeClaim", "core-catalogue")
    assert claim is not None
    assert again is not None
    assert again["metadata"]["uid"] == claim["metadata"]["uid"]


def test_a_proxy_starts_anew_with_a_new_certificate(asked: Asked, operator: ServiceProcess) -> None:
    asked.apply(secret("nats-ward7", token="token"))
    asked.apply(secret("ward7-dicom-tls", **{"tls.crt": "first", "tls.key": "key"}))
    asked.apply(PROXY)
    asked.have_pods("ward7-proxy")
    asked.phase(PROXY, "Ready")
    before = deployment(asked, "ward7-proxy")["metadata"]["generation"]
    asked.apply(secret("ward7-dicom-tls", **{"tls.crt": "second", "tls.key": "key"}))
    eventually(
        lambda: deployment(asked, "ward7-proxy")["metadata"]["generation"],
        lambda seen: seen > before,
    )
    asked.phase(PROXY, "Progressing")


def test_nothing_is_written_where_nothing_changes(asked: Asked, space: Manifest) -> None:
    """Else the operator would answer its own writing for ever."""

    def version() -> tuple[str, ...]:
        resource = asked.found(OURS, "DimseIngestionService", "img-ingest")
        assert resource is not None
        made = deployment(asked)
        return resource["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]

    before = version()
    asked.apply(config_map("img-ingest-s3", BUCKET_NAME="other"))  # has the space looked at
    asked.apply(renamed(SPACE, "after"))
    asked.phase(renamed(SPACE, "after"), "Progressing")
    assert version() == before


def _said(manifest: Manifest) -> tuple[Any, ...]:
    """What the release says of a Deployment, as far as the edits touch it."""
    pod = manifest["spec"]["template"]["spec"]
    return (
        manifest["spec"]["replicas"],
        manifest["metadata"]["labels"],
        pod.get("serviceAccountName"),
        [(each["name"], each["image"], each.get("env")) for each in pod["containers"]],
    )
