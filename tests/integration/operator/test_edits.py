"""Manual edits of the objects of a release are removed, except fields that users may set."""

from typing import Any

import pytest

from harness.services import ServiceProcess, eventually
from tests.integration.operator.namespace_api import Manifest, NamespaceApi, example
from tests.integration.operator.test_definitions import changed

SPACE = example("img-ingest.yaml")
SCALED = changed(SPACE, values={"ingestion": {"autoscaling": {"enabled": True}}})
INGESTION = "img-ingest-ingestion"
DEPLOYMENT = ("apps/v1", "Deployment", INGESTION)
RESTARTED = "kubectl.kubernetes.io/restartedAt"


@pytest.fixture
def made(api: NamespaceApi, operator: ServiceProcess) -> Manifest:
    """Return the Deployment of the example's space, as the operator has made it."""
    api.apply(SPACE)
    return there(api, DEPLOYMENT)


def there(api: NamespaceApi, which: tuple[str, str, str]) -> Manifest:
    """Return the object, once it exists and the operator has reported its release."""
    api.wait_for_phase(SPACE, "Pending")
    match = api.get(*which)
    assert match is not None
    return match


def pod(edit: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"template": {"spec": edit}}}


def container(**edit: Any) -> dict[str, Any]:
    return pod({"containers": [{"name": "ingestion"} | edit]})


@pytest.mark.parametrize(
    "edit",
    [
        container(command=["sleep", "inf"]),
        {"spec": {"paused": True}},
        pod({"nodeSelector": {"gone": "yes"}}),
        pod({"hostNetwork": True}),
        pod({"dnsPolicy": "Default"}),
        pod({"containers": [{"name": "other", "image": "other"}]}),
        container(env=[{"name": "DIMSE_FOO", "value": "x"}]),
        {"spec": {"template": {"metadata": {"annotations": {"other": "x"}}}}},
        {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}},
        pod({"volumes": [{"name": "bucket-config", "configMap": None, "emptyDir": {}}]}),
    ],
    ids=[
        "command",
        "pause",
        "nodes",
        "network",
        "dns",
        "container",
        "variable",
        "annotation",
        "strategy",
        "volume",
    ],
)
def test_fields_added_to_a_deployment_are_removed(
    api: NamespaceApi, made: Manifest, edit: dict[str, Any]
) -> None:
    api.edit(*DEPLOYMENT, edit)
    assert there(api, DEPLOYMENT)["metadata"]["generation"] > made["metadata"]["generation"]
    eventually(lambda: there(api, DEPLOYMENT)["spec"], lambda seen: seen == made["spec"])


@pytest.mark.parametrize(
    ("which", "edit"),
    [
        (("v1", "Service", INGESTION), {"spec": {"ports": [{"name": "b", "port": 9}]}}),
        (("v1", "Service", INGESTION), {"spec": {"externalIPs": ["192.0.2.1"]}}),
        (
            ("networking.k8s.io/v1", "NetworkPolicy", INGESTION),
            {"spec": {"ingress": [{}], "policyTypes": ["Ingress", "Egress"]}},
        ),
        (
            ("policy/v1", "PodDisruptionBudget", INGESTION),
            {"spec": {"selector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}},
        ),
    ],
    ids=["port", "address", "traffic", "disruption"],
)
def test_so_it_is_from_other_objects(
    api: NamespaceApi, made: Manifest, which: tuple[str, str, str], edit: dict[str, Any]
) -> None:
    before = there(api, which)
    api.edit(*which, edit)
    assert there(api, which)["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
    eventually(lambda: there(api, which)["spec"], lambda seen: seen == before["spec"])


def test_fields_applied_by_another_manager_are_removed(api: NamespaceApi, made: Manifest) -> None:
    api.apply(
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": INGESTION}}
        | {"spec": {"paused": True}}
    )
    eventually(lambda: there(api, DEPLOYMENT)["spec"], lambda seen: seen == made["spec"])


def test_a_restart_and_marks_of_the_object_stay(api: NamespaceApi, made: Manifest) -> None:
    restart = {"spec": {"template": {"metadata": {"annotations": {RESTARTED: "now"}}}}}
    api.edit(*DEPLOYMENT, restart | {"metadata": {"labels": {"team": "imaging"}}})
    api.edit(*DEPLOYMENT, {"spec": {"paused": True}})
    eventually(lambda: there(api, DEPLOYMENT)["spec"].get("paused"), lambda seen: not seen)
    match = there(api, DEPLOYMENT)
    assert match["spec"]["template"]["metadata"]["annotations"][RESTARTED] == "now"
    assert match["metadata"]["labels"]["team"] == "imaging"


def test_replicas_stay_that_an_autoscaler_decides_on(
    api: NamespaceApi, operator: ServiceProcess
) -> None:
    api.apply(SCALED)
    there(api, DEPLOYMENT)
    api.edit(*DEPLOYMENT, {"spec": {"replicas": 5, "paused": True}})
    eventually(lambda: there(api, DEPLOYMENT)["spec"].get("paused"), lambda seen: not seen)
    assert there(api, DEPLOYMENT)["spec"]["replicas"] == 5
