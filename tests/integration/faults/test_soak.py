"""`make soak` notices a service that leaks, and passes one that does not."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults import soak
from faults.soak import Resources, grown
from harness.services import ServiceProcess, StorageSpace, eventually

BEFORE = Resources(memory_mib=100, descriptors=20, threads=10, tasks=9)


@pytest.mark.parametrize(
    ("after", "names"),
    [
        (BEFORE, []),
        (Resources(150, 28, 18, 15), []),
        (Resources(161, 20, 10, 9), ["memory_mib"]),
        (Resources(100, 29, 10, 9), ["descriptors"]),
        (Resources(100, 20, 19, 16), ["threads", "tasks"]),
    ],
)
def test_growth_beyond_its_bound_is_a_leak(after: Resources, names: list[str]) -> None:
    assert grown(BEFORE, after) == names


def test_a_service_is_measured(catalogue: ServiceProcess) -> None:
    first = soak.read(catalogue)
    assert 30 < first.memory_mib < 500
    assert min(first.descriptors, first.threads, first.tasks) > 0
    connections = [socket.create_connection(("127.0.0.1", catalogue.http_port)) for _ in range(12)]
    try:
        leaking = eventually(lambda: grown(first, soak.read(catalogue)), bool)
        assert "descriptors" in leaking
    finally:
        for each in connections:
            each.close()


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[ServiceProcess]:
    space = StorageSpace(tmp_path, "nats://127.0.0.1:4222")
    yield space.catalogue().start().ready()
    space.close()
