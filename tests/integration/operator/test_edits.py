"""What somebody adds by hand to an object of a release is taken away, but what is theirs to say."""

from typing import Any

import pytest

from harness.services import ServiceProcess, eventually
from tests.integration.operator.asked import Asked, Manifest, example
from tests.integration.operator.test_definitions import changed

SPACE = example("img-ingest.yaml")
SCALED = changed(SPACE, values={"ingestion": {"autoscaling": {"enabled": True}}})
INGESTION = "img-ingest-ingestion"
DEPLOYMENT = ("apps/v1", "Deployment", INGESTION)
RESTARTED = "kubectl.kubernetes.io/restartedAt"


@pytest.fixture
def made(asked: Asked, operator: ServiceProcess) -> Manifest:
    """The Deployment of the example's space, as the operator has made it."""
    asked.apply(SPACE)
    return there(asked, DEPLOYMENT)


def there(asked: Asked, which: tuple[str, str, str]) -> Manifest:
    """The object, once it is there and the operator has told of its release."""
    asked.phase(SPACE, "Pending")
    found = asked.found(*which)
    assert found is not None
    return found


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
def test_what_is_added_to_a_deployment_is_taken_away(
    asked: Asked, made: Manifest, edit: dict[str, Any]
) -> None:
    asked.edit(*DEPLOYMENT, edit)
    assert there(asked, DEPLOYMENT)["metadata"]["generation"] > made["metadata"]["generation"]
    eventually(lambda: there(asked, DEPLOYMENT)["spec"], lambda seen: seen == made["spec"])


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
    asked: Asked, made: Manifest, which: tuple[str, str, str], edit: dict[str, Any]
) -> None:
    before = there(asked, which)
    asked.edit(*which, edit)
    assert (
        there(asked, which)["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
    )
    eventually(lambda: there(asked, which)["spec"], lambda seen: seen == before["spec"])


def test_what_another_applies_is_taken_away(asked: Asked, made: Manifest) -> None:
    asked.apply(
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": INGESTION}}
        | {"spec": {"paused": True}}
    )
    eventually(lambda: there(asked, DEPLOYMENT)["spec"], lambda seen: seen == made["spec"])


def test_a_restart_and_marks_of_the_object_stay(asked: Asked, made: Manifest) -> None:
    restart = {"spec": {"template": {"metadata": {"annotations": {RESTARTED: "now"}}}}}
    asked.edit(*DEPLOYMENT, restart | {"metadata": {"labels": {"team": "imaging"}}})
    asked.edit(*DEPLOYMENT, {"spec": {"paused": True}})
    eventually(lambda: there(asked, DEPLOYMENT)["spec"].get("paused"), lambda seen: not seen)
    found = there(asked, DEPLOYMENT)
    assert found["spec"]["template"]["metadata"]["annotations"][RESTARTED] == "now"
    assert found["metadata"]["labels"]["team"] == "imaging"


def test_replicas_stay_that_an_autoscaler_decides_on(
    asked: Asked, operator: ServiceProcess
) -> None:
    asked.apply(SCALED)
    there(asked, DEPLOYMENT)
    asked.edit(*DEPLOYMENT, {"spec": {"replicas": 5, "paused": True}})
    eventually(lambda: there(asked, DEPLOYMENT)["spec"].get("paused"), lambda seen: not seen)
    assert there(asked, DEPLOYMENT)["spec"]["replicas"] == 5
