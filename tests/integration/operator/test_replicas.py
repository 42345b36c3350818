"""The operator killed in mid-install, another that takes over, an API server that is silent."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.api_server import ApiServer
from harness.services import ServiceProcess, eventually
from tests.integration.operator.asked import OURS, Asked, Manifest, example
from tests.integration.operator.conftest import operator_door
from tests.integration.operator.test_definitions import changed, renamed

SPACE = example("img-ingest.yaml")
MANY = [changed(renamed(SPACE, f"space{number}"), providerName=f"p{number}") for number in range(9)]
OBJECTS = 5  # of each: ServiceAccount, Service, Deployment, NetworkPolicy, PodDisruptionBudget
Replica = Callable[[str], ServiceProcess]


@pytest.fixture
def replica(server: ApiServer, asked: Asked, tmp_path: Path) -> Iterator[Replica]:
    """Makes operators of the test's namespace, not started; what still runs is killed."""
    doors: list[ServiceProcess] = []

    def made(identity: str) -> ServiceProcess:
        log = tmp_path / f"{identity}.log"
        doors.append(operator_door(server, log, asked.namespace, identity))
        return doors[-1]

    yield made
    for door in doors:
        door.kill()


def leading(door: ServiceProcess) -> bool:
    return "dimse_operator_leading 1.0" in door.get("/metrics")[1]


def stored(asked: Asked) -> set[str]:
    return {each for each in asked.made() if "/space" in each}


def uids(asked: Asked, resources: list[Manifest]) -> list[str]:
    """Of the Deployments: the same ones must still be there after a crash."""
    found = [
        asked.found("apps/v1", "Deployment", f"{each['metadata']['name']}-ingestion")
        for each in resources
    ]
    return [each["metadata"]["uid"] for each in found if each]


def test_killed_in_mid_install_another_goes_on_where_it_was(asked: Asked, replica: Replica) -> None:
    for each in MANY:
        asked.apply(each)
    door = replica("killed").start()
    eventually(lambda: uids(asked, MANY[:1]), bool)
    door.kill()
    before, begun = stored(asked), uids(asked, MANY)
    assert len(before) < OBJECTS * len(MANY), "it was killed too late to prove anything"
    replica("next").start().ready()
    eventually(lambda: len(stored(asked)), lambda seen: seen == OBJECTS * len(MANY))
    assert before <= stored(asked)
    assert set(begun) <= set(uids(asked, MANY))
    for each in MANY:
        asked.phase(each, "Pending", "Missing bucket ConfigMap")


def test_one_works_and_another_waits_until_it_is_gone(asked: Asked, replica: Replica) -> None:
    first, second = replica("first").start().ready(), replica("second")
    eventually(lambda: leading(first), bool)
    second.start().ready()
    asked.apply(SPACE)
    asked.phase(SPACE, "Pending")
    assert not leading(second)
    first.kill()
    eventually(lambda: leading(second), bool)
    asked.apply(changed(SPACE, replicas=3))
    eventually(lambda: asked.status(SPACE)["observedGeneration"], lambda seen: seen == 2)


def test_one_that_is_told_to_stop_gives_its_lease_back(asked: Asked, replica: Replica) -> None:
    first = replica("first").start().ready()
    eventually(lambda: leading(first), bool)
    second = replica("second").start().ready()
    assert first.stop() == 0
    eventually(lambda: leading(second), bool, 4)  # the Lease alone would take five seconds


def test_without_an_answer_it_gives_up_its_lease_and_begins_anew(
    server: ApiServer, asked: Asked, replica: Replica
) -> None:
    door = replica("lonely").start().ready()
    eventually(lambda: leading(door), bool)
    server.pause()
    try:
        assert door.process is not None
        assert door.process.wait(60) == 1
    finally:
        server.resume()
    assert "The Lease could not be renewed" in door.last_lines(100)


def test_what_changed_while_nobody_worked_is_seen(asked: Asked, replica: Replica) -> None:
    first = replica("first").start().ready()
    asked.apply(SPACE)
    asked.phase(SPACE, "Pending")
    first.stop()
    asked.make_what_is_named()
    asked.apply(changed(SPACE, replicas=1, dicomEventDrivenIngestionName=""))
    asked.delete("v1", "Service", "img-ingest-ingestion")
    replica("second").start().ready()
    eventually(
        asked.made,
        lambda seen: (
            "Service/img-ingest-ingestion" in seen
            and "Deployment/img-ingest-catalogue" in seen
            and "PodDisruptionBudget/img-ingest-ingestion" not in seen
        ),
    )
    for name in ("img-ingest-ingestion", "img-ingest-catalogue"):
        asked.have_pods(name)
    asked.phase(SPACE, "Ready")


def test_what_is_deleted_while_nobody_works_goes(asked: Asked, replica: Replica) -> None:
    first = replica("first").start().ready()
    asked.apply(SPACE)
    asked.phase(SPACE, "Pending")
    first.kill()
    asked.delete(OURS, "DimseIngestionService", "img-ingest")
    eventually(asked.made, lambda seen: not seen, 60)


def test_deleted_without_its_objects_it_finds_them_again(asked: Asked, replica: Replica) -> None:
    replica("first").start().ready()
    asked.make_what_is_named()
    asked.apply(SPACE)
    asked.phase(SPACE, "Pending")
    before = uids(asked, [SPACE])
    asked.delete(OURS, "DimseIngestionService", "img-ingest", propagation_policy="Orphan")
    eventually(lambda: asked.found(OURS, "DimseIngestionService", "img-ingest"), lambda it: not it)
    asked.apply(SPACE)
    asked.phase(SPACE, "Pending", "Missing catalogue core")
    assert uids(asked, [SPACE]) == before
