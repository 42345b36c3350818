"""The operator killed in mid-install, another that takes over, an API server that is silent."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.api_server import ApiServer
from harness.services import ServiceProcess, eventually
from tests.integration.operator.conftest import operator_process
from tests.integration.operator.namespace_api import OURS, Manifest, NamespaceApi, example
from tests.integration.operator.test_definitions import changed, renamed

SPACE = example("img-ingest.yaml")
MANY = [changed(renamed(SPACE, f"space{number}"), providerName=f"p{number}") for number in range(9)]
OBJECTS = 5  # of each: ServiceAccount, Service, Deployment, NetworkPolicy, PodDisruptionBudget
Replica = Callable[[str], ServiceProcess]


@pytest.fixture
def replica(server: ApiServer, api: NamespaceApi, tmp_path: Path) -> Iterator[Replica]:
    """Yield a factory of operators of the test's namespace; running ones are killed at the end."""
    operators: list[ServiceProcess] = []

    def made(identity: str) -> ServiceProcess:
        log = tmp_path / f"{identity}.log"
        operators.append(operator_process(server, log, api.namespace, identity))
        return operators[-1]

    yield made
    for operator in operators:
        operator.kill()


def leading(operator: ServiceProcess) -> bool:
    return "dimse_operator_leading 1.0" in operator.get("/metrics")[1]


def stored(api: NamespaceApi) -> set[str]:
    return {each for each in api.release_objects() if "/space" in each}


def uids(api: NamespaceApi, resources: list[Manifest]) -> list[str]:
    """Return the UIDs of the Deployments: the same ones must exist after a crash."""
    match = [
        api.get("apps/v1", "Deployment", f"{each['metadata']['name']}-ingestion")
        for each in resources
    ]
    return [each["metadata"]["uid"] for each in match if each]


def test_another_replica_completes_an_interrupted_installation(
    api: NamespaceApi, replica: Replica
) -> None:
    for each in MANY:
        api.apply(each)
    operator = replica("killed").start()
    eventually(lambda: uids(api, MANY[:1]), bool)
    operator.kill()
    before, first_start = stored(api), uids(api, MANY)
    assert len(before) < OBJECTS * len(MANY), "it was killed too late to prove anything"
    replica("next").start().ready()
    eventually(lambda: len(stored(api)), lambda seen: seen == OBJECTS * len(MANY))
    assert before <= stored(api)
    assert set(first_start) <= set(uids(api, MANY))
    for each in MANY:
        api.wait_for_phase(each, "Pending", "Missing bucket ConfigMap")


def test_one_works_and_another_waits_until_it_is_gone(api: NamespaceApi, replica: Replica) -> None:
    first, second = replica("first").start().ready(), replica("second")
    eventually(lambda: leading(first), bool)
    second.start().ready()
    api.apply(SPACE)
    api.wait_for_phase(SPACE, "Pending")
    assert not leading(second)
    first.kill()
    eventually(lambda: leading(second), bool)
    api.apply(changed(SPACE, replicas=3))
    eventually(lambda: api.status(SPACE)["observedGeneration"], lambda seen: seen == 2)


def test_one_that_gets_a_signal_to_stop_gives_its_lease_back(
    api: NamespaceApi, replica: Replica
) -> None:
    first = replica("first").start().ready()
    eventually(lambda: leading(first), bool)
    second = replica("second").start().ready()
    assert first.stop() == 0
    eventually(lambda: leading(second), bool, 4)  # the Lease alone would take five seconds


def test_without_an_answer_it_gives_up_its_lease_and_begins_anew(
    server: ApiServer, api: NamespaceApi, replica: Replica
) -> None:
    operator = replica("lonely").start().ready()
    eventually(lambda: leading(operator), bool)
    server.pause()
    try:
        assert operator.process is not None
        assert operator.process.wait(60) == 1
    finally:
        server.resume()
    assert "The Lease could not be renewed" in operator.last_lines(100)


def test_changes_without_a_running_operator_are_applied_later(
    api: NamespaceApi, replica: Replica
) -> None:
    first = replica("first").start().ready()
    api.apply(SPACE)
    api.wait_for_phase(SPACE, "Pending")
    first.stop()
    api.create_referenced_objects()
    api.apply(changed(SPACE, replicas=1, dicomEventDrivenIngestionName=""))
    api.delete("v1", "Service", "img-ingest-ingestion")
    replica("second").start().ready()
    eventually(
        api.release_objects,
        lambda seen: (
            "Service/img-ingest-ingestion" in seen
            and "Deployment/img-ingest-catalogue" in seen
            and "PodDisruptionBudget/img-ingest-ingestion" not in seen
        ),
    )
    for name in ("img-ingest-ingestion", "img-ingest-catalogue"):
        api.set_pods(name)
    api.wait_for_phase(SPACE, "Ready")


def test_deletions_without_a_running_operator_are_applied_later(
    api: NamespaceApi, replica: Replica
) -> None:
    first = replica("first").start().ready()
    api.apply(SPACE)
    api.wait_for_phase(SPACE, "Pending")
    first.kill()
    api.delete(OURS, "DimseIngestionService", "img-ingest")
    eventually(api.release_objects, lambda seen: not seen, 60)


def test_deleted_without_its_objects_it_finds_them_again(
    api: NamespaceApi, replica: Replica
) -> None:
    replica("first").start().ready()
    api.create_referenced_objects()
    api.apply(SPACE)
    api.wait_for_phase(SPACE, "Pending")
    before = uids(api, [SPACE])
    api.delete(OURS, "DimseIngestionService", "img-ingest", propagation_policy="Orphan")
    eventually(lambda: api.get(OURS, "DimseIngestionService", "img-ingest"), lambda it: not it)
    api.apply(SPACE)
    api.wait_for_phase(SPACE, "Pending", "Missing catalogue core")
    assert uids(api, [SPACE]) == before
