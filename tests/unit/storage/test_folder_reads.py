"""Reads that are requested together are few calls of a thread, and each has its own result."""

import asyncio
from pathlib import Path

import pytest

from dimse_ingestion.storage import folder_reads
from dimse_ingestion.storage.folder_reads import FileReads


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "file"
    file.write_bytes(bytes(range(100)))
    return file


async def test_a_read_ends_at_the_end_of_the_file(path: Path) -> None:
    reads = FileReads()
    assert await reads.read(path, 10, 5) == bytes(range(10, 15))
    assert await reads.read(path, 95, 50) == bytes(range(95, 100))
    assert await reads.read(path, 200, 5) == b""


async def test_each_of_several_reads_has_its_own_result(path: Path) -> None:
    reads = FileReads()
    missing = path.with_name("missing")
    requests = [reads.read(path, each, 1) for each in range(20)]
    *contents, failure = await asyncio.gather(
        *requests, reads.read(missing, 0, 1), return_exceptions=True
    )
    assert contents == [bytes([each]) for each in range(20)]
    assert isinstance(failure, FileNotFoundError)


async def test_an_unusable_path_is_an_error_of_its_read_alone(path: Path) -> None:
    reads = FileReads()
    unusable, content = await asyncio.gather(
        reads.read(Path("nul\0"), 0, 1), reads.read(path, 0, 1), return_exceptions=True
    )
    assert isinstance(unusable, ValueError)
    assert content == b"\0"


async def test_a_cancelled_read_leaves_the_others(path: Path) -> None:
    reads = FileReads()
    cancelled = asyncio.ensure_future(reads.read(path, 0, 1))
    other = asyncio.ensure_future(reads.read(path, 1, 1))
    await asyncio.sleep(0)
    cancelled.cancel()
    assert await other == b"\x01"
    assert cancelled.cancelled()


async def test_reads_that_are_requested_together_are_one_call(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[int] = []
    perform = folder_reads._perform

    def recorded(loop: asyncio.AbstractEventLoop, group: list[folder_reads._Read]) -> None:
        groups.append(len(group))
        perform(loop, group)

    monkeypatch.setattr(folder_reads, "_perform", recorded)
    reads = FileReads()
    await asyncio.gather(*(reads.read(path, each, 1) for each in range(6)))
    assert sorted(groups) == [2, 4]
    groups.clear()
    await asyncio.gather(*(reads.read(path, 0, 600_000) for _ in range(2)))
    assert groups == [1, 1]


def test_another_event_loop_can_use_it(path: Path) -> None:
    reads = FileReads()
    for _ in range(2):
        assert asyncio.run(reads.read(path, 0, 1)) == b"\0"
