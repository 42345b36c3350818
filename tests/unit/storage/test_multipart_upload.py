"""How an upload ends when its source does, against a sender that takes chunks as obstore does."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from dimse_ingestion.storage.multipart_upload import upload_parts


class BrokenOffError(Exception):
    pass


class Sender:
    """Sends each chunk as a part, one at a time: the next is taken while it is under way."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.under_way = asyncio.Event()
        self.may_end = asyncio.Event()
        self.aborted_amid_a_part = False
        self.completed = False
        self._part: asyncio.Task[bool] | None = None

    async def send(self, feed: AsyncIterator[bytes]) -> None:
        try:
            async for chunk in feed:
                await self._nothing_under_way()
                if chunk:
                    self.sent.append(chunk)
                    self._part = asyncio.create_task(self.may_end.wait())
                    self.under_way.set()
            await self._nothing_under_way()
        except BaseException:
            self.aborted_amid_a_part = self._part is not None and not self._part.done()
            raise
        self.completed = True

    async def _nothing_under_way(self) -> None:
        if self._part is not None:
            await self._part


async def test_what_the_source_gives_is_sent_in_its_order() -> None:
    sender = Sender()
    sender.may_end.set()

    async def source() -> AsyncIterator[bytes]:
        for number in range(50):
            yield bytes([number])

    await upload_parts(sender.send, source())
    assert b"".join(sender.sent) == bytes(range(50))
    assert sender.completed


async def test_a_part_under_way_ends_before_the_upload_is_aborted() -> None:
    sender = Sender()

    async def breaking() -> AsyncIterator[bytes]:
        yield b"a part"
        await sender.under_way.wait()
        asyncio.get_running_loop().call_soon(sender.may_end.set)
        raise BrokenOffError

    with pytest.raises(BrokenOffError):
        await upload_parts(sender.send, breaking())
    assert sender.may_end.is_set()
    assert not sender.aborted_amid_a_part
    assert not sender.completed


async def test_a_source_that_is_ahead_when_it_breaks_off_is_not_sent_on() -> None:
    sender = Sender()

    async def breaking() -> AsyncIterator[bytes]:
        yield b"a part"
        await sender.under_way.wait()
        for _ in range(5):
            yield b"more"
        asyncio.get_running_loop().call_soon(sender.may_end.set)
        raise BrokenOffError

    with pytest.raises(BrokenOffError):
        await upload_parts(sender.send, breaking())
    assert sender.sent[0] == b"a part"
    assert len(sender.sent) <= 2
    assert not sender.aborted_amid_a_part


async def test_a_failure_of_the_upload_reaches_a_source_that_gives_on() -> None:
    async def refusing(feed: AsyncIterator[bytes]) -> None:
        await anext(feed)
        raise ConnectionError("refused")

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"chunk"

    with pytest.raises(ConnectionError, match="refused"):
        await asyncio.wait_for(upload_parts(refusing, endless()), 60)
