import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from dimse_ingestion.upper_layer.flow_control import MAXIMUM_QUEUED, FlowControl
from tests.unit.upper_layer.memory_connection import MemoryConnection


def spawn(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    return asyncio.create_task(work, name=name)


@pytest.fixture
def connection() -> MemoryConnection:
    return MemoryConnection()


@pytest.fixture
def flow(connection: MemoryConnection) -> FlowControl:
    return FlowControl(connection, spawn)


async def passed(gate: asyncio.Event) -> None:
    await gate.wait()


async def test_reading_begins_again_when_no_reason_is_left(
    flow: FlowControl, connection: MemoryConnection
) -> None:
    gates = [asyncio.Event(), asyncio.Event()]
    for gate in gates:
        flow.hold(passed(gate))
    flow.update_backlog(MAXIMUM_QUEUED)
    assert flow.is_paused
    for gate in gates:
        assert not connection.is_reading()
        gate.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert not connection.is_reading()
    flow.update_backlog(MAXIMUM_QUEUED - 1)
    assert connection.is_reading()
    assert not flow.is_paused


async def test_a_wait_that_fails_is_over_too(connection: MemoryConnection) -> None:

    async def fails() -> None:
        raise OSError("disk")

    tasks: list[asyncio.Task[None]] = []

    def spawn_listed(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        tasks.append(spawn(work, name))
        return tasks[-1]

    FlowControl(connection, spawn_listed).hold(fails())
    await asyncio.gather(*tasks, return_exceptions=True)
    assert connection.is_reading()


async def test_one_pile_is_one_reason(flow: FlowControl, connection: MemoryConnection) -> None:
    for waiting in (MAXIMUM_QUEUED, MAXIMUM_QUEUED + 1, MAXIMUM_QUEUED, 0, 0):
        flow.update_backlog(waiting)
    assert connection.is_reading()
