"""How many instances of one request are stored at once."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.dicomweb.store.part10_upload import InstanceIdentity
from dimse_ingestion.dicomweb.store.pipeline import StorePipeline
from dimse_ingestion.operations.event_builder import Instance

NOBODY: Any = None


class Waiting:
    """An instance that is refused, once `allowed` is set."""

    has_omissions = False
    in_progress = 0

    def __init__(self, size: int, allowed: asyncio.Event) -> None:
        self.identity = InstanceIdentity()
        self.size = size
        self._allowed = allowed

    async def seal(self) -> Instance:
        Waiting.in_progress += 1
        await self._allowed.wait()
        Waiting.in_progress -= 1
        raise DimseFailure(Status.CANNOT_UNDERSTAND, "none")

    async def chunks(self) -> AsyncIterator[bytes]:
        yield b""

    def close(self) -> None:
        pass


async def settle() -> None:
    for _ in range(200):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("size", "most"), [(1000, 32), (2**20, 8)])
async def test_many_small_instances_are_stored_at_once_and_few_large_ones(
    size: int, most: int
) -> None:
    allowed = asyncio.Event()
    async with StorePipeline(NOBODY, NOBODY, NOBODY, "") as pipeline:

        async def add_all() -> None:
            for _ in range(100):
                await pipeline.add(Waiting(size, allowed))

        adding = asyncio.create_task(add_all())
        await settle()
        assert Waiting.in_progress == most
        allowed.set()
        await adding
        assert len(await pipeline.outcomes()) == 100


async def test_small_instances_keep_their_slots_when_a_large_one_fails() -> None:
    allowed = asyncio.Event()
    async with StorePipeline(NOBODY, NOBODY, NOBODY, "") as pipeline:
        for _ in range(8):
            await pipeline.add(Waiting(2**20, allowed))
        given_up = asyncio.create_task(pipeline.add(Waiting(2**20, allowed)))
        await settle()
        given_up.cancel()
        await settle()
        for _ in range(24):
            await pipeline.add(Waiting(10, allowed))
        await settle()
        assert Waiting.in_progress == 32
        allowed.set()


async def test_outcomes_of_thousands_come_in_order_without_a_turn_of_the_loop_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    async with StorePipeline(NOBODY, NOBODY, NOBODY, "") as pipeline:
        for number in range(2000):
            pipeline.refuse(DimseFailure(Status.CANNOT_UNDERSTAND, str(number)))
        scheduled: list[object] = []
        call_soon = loop.call_soon

        def record(*args: Any, **more: Any) -> asyncio.Handle:
            scheduled.append(args)
            return call_soon(*args, **more)

        monkeypatch.setattr(loop, "call_soon", record)
        outcomes = await pipeline.outcomes()
        monkeypatch.undo()
    comments = [each.failure.comment for each in outcomes if each.failure]
    assert comments == [str(number) for number in range(2000)]
    assert len(scheduled) < 10
