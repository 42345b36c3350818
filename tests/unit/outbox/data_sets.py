"""Data sets for an outbox, and an outbox that is opened and closed."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from dimse_ingestion.outbox.disk import Limits
from dimse_ingestion.outbox.outbox import Outbox
from dimse_ingestion.outbox.records import Metadata
from dimse_ingestion.outbox.waiting import Entry

MIB = 2**20


class Content:
    """The bytes of a data set, as a source."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self, offset: int, length: int) -> bytes:
        return self.content[offset : offset + length]


def metadata(number: int, content: bytes, received_at: float = 0.0) -> Metadata:
    return Metadata(
        operation_id=f"0190-{number:06d}",
        received_at=received_at or 1_700_000_000.0 + number,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        request=b"request %d" % number,
        sop_instance_uid=f"1.2.3.{number}",
    )


def content(number: int, length: int = 300) -> bytes:
    return hashlib.shake_128(str(number).encode()).digest(length)


@asynccontextmanager
async def opened(
    folder: Path, segment_length: int = 64 * MIB, **limits: float
) -> AsyncIterator[Outbox]:
    outbox = Outbox(folder, Limits(**limits), segment_length=segment_length)  # type: ignore[arg-type] # by name
    try:
        await outbox.open()
        yield outbox
    finally:
        await outbox.close()


async def add(outbox: Outbox, number: int, length: int = 300) -> None:
    data = content(number, length)
    await outbox.add(metadata(number, data), Content(data))


async def add_all(outbox: Outbox, numbers: range, length: int = 300) -> None:
    for number in numbers:
        await add(outbox, number, length)


def take_all(outbox: Outbox) -> list[Entry]:
    found = []
    while entry := outbox.queue.take(0.0):
        found.append(entry)
    return found


async def contents(outbox: Outbox) -> dict[str, bytes]:
    """Return what waits, by operation id, in the order in which it would be forwarded."""
    found = {}
    for entry in take_all(outbox):
        opened_entry = await outbox.open_entry(entry, verify=True)
        found[opened_entry.metadata.operation_id] = opened_entry.read(0, entry.size)
        opened_entry.close()
        outbox.queue.put_back(entry, 0.0)
    return found


def expected(numbers: range | list[int], length: int = 300) -> dict[str, bytes]:
    return {f"0190-{number:06d}": content(number, length) for number in numbers}
