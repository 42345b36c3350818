"""An autoscaler that a spec switches on has its number from then on."""

from harness.doors import Door, eventually
from tests.integration.operator.asked import Asked, example
from tests.integration.operator.test_definitions import changed

SPACE = changed(example("img-ingest.yaml"), replicas=5)
SCALING = {"ingestion": {"autoscaling": {"enabled": True}}}
INGESTION = "img-ingest-ingestion"


def replicas(asked: Asked) -> int:
    deployment = asked.found("apps/v1", "Deployment", INGESTION)
    return int(deployment["spec"]["replicas"]) if deployment else -1


def level(asked: Asked) -> str:
    """What the Deployment's pods log, to see that a change has come."""
    deployment = asked.found("apps/v1", "Deployment", INGESTION)
    assert deployment is not None
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return next(str(e["value"]) for e in container["env"] if e["name"] == "DIMSE_LOG_LEVEL")


def applied(asked: Asked, log: str) -> None:
    """The autoscaled space with another value, and the operator having made it so."""
    asked.apply(changed(SPACE, values=SCALING | {"logLevel": log}))
    eventually(lambda: level(asked), lambda seen: seen == log)


def test_switching_it_on_takes_no_replica_away_nor_does_what_follows(
    asked: Asked, operator: Door
) -> None:
    asked.apply(SPACE)
    eventually(lambda: replicas(asked), lambda seen: seen == 5)
    applied(asked, "debug")
    assert replicas(asked) == 5
    applied(asked, "info")
    assert replicas(asked) == 5
    asked.patch("apps/v1", "Deployment", INGESTION, {"spec": {"replicas": 7}}, "scale")
    applied(asked, "warning")
    assert replicas(asked) == 7
