import asyncio
import errno
import gc
import hashlib
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dimse_ingestion.failures import Unavailable
from dimse_ingestion.spooling.spool import Limits, Spool
from dimse_ingestion.spooling.spooled import Sealed, SpooledDataSet

MIB = 2**20


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool", Limits(memory=MIB, memory_in_all=4 * MIB, disk=16 * MIB))
    spool.prepare()
    yield spool
    spool.close()


async def filled(spooled: SpooledDataSet, content: bytes, fragment: int = 100_000) -> Sealed:
    reused = bytearray(fragment)
    for at in range(0, len(content), fragment):
        part = content[at : at + fragment]
        reused[: len(part)] = part
        if waiting := spooled.write(memoryview(reused)[: len(part)]):
            await waiting
        reused[:] = bytes(fragment)  # as the upper layer's buffer is used again
    return await spooled.seal()


def whole(spooled: SpooledDataSet, length: int = 300_001) -> bytes:
    found = bytearray()
    while part := spooled.read(len(found), length):
        found += part
    return bytes(found)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 524_288, 524_289, MIB, MIB + 1, 5 * MIB])
async def test_bytes_and_digest_are_what_came_in(spool: Spool, size: int) -> None:
    content = random.Random(size).randbytes(size)
    spooled = spool.open("operation")
    sealed = await filled(spooled, content)
    assert sealed == Sealed(size, hashlib.sha256(content).hexdigest())
    assert whole(spooled) == content
    assert spooled.read(size, 10) == b""
    spooled.close()
    assert (spool.memory_used, spool.disk_used) == (0, 0)


@settings(max_examples=30, deadline=None)
@given(
    fragments=st.lists(st.integers(0, 400_000), max_size=8),
    offset=st.integers(0, 2 * MIB),
    length=st.integers(0, MIB),
    memory=st.sampled_from([0, 100_000, 600_000, 8 * MIB]),
)
def test_any_fragments_give_any_range(
    tmp_path_factory: pytest.TempPathFactory,
    fragments: list[int],
    offset: int,
    length: int,
    memory: int,
) -> None:
    async def write_and_read() -> None:
        spool = Spool(tmp_path_factory.mktemp("spool"), Limits(memory=memory))
        spooled = spool.open("operation")
        parts = [random.Random(n).randbytes(size) for n, size in enumerate(fragments)]
        for part in parts:
            if waiting := spooled.write(part):
                await waiting
        content = b"".join(parts)
        assert (await spooled.seal()).sha256 == hashlib.sha256(content).hexdigest()
        assert spooled.read(offset, length) == content[offset : offset + length]
        spooled.close()
        spool.close()
        assert (spool.memory_used, spool.disk_used) == (0, 0)

    asyncio.run(write_and_read())


async def test_a_long_data_set_leaves_memory_for_a_file_without_a_name(
    spool: Spool, tmp_path: Path
) -> None:
    spooled = spool.open("operation")
    await filled(spooled, bytes(8 * MIB))
    assert spool.memory_used == 0
    assert spool.disk_used == 8 * MIB
    assert list((tmp_path / "spool").iterdir()) == []
    spooled.close()


async def test_memory_is_bounded_while_the_disk_is_slow(spool: Spool) -> None:
    spooled = spool.open("operation")
    most = 0
    for _ in range(100):
        if waiting := spooled.write(bytes(100_000)):
            await waiting
        most = max(most, spool.memory_used)
    assert most < 4 * MIB
    await spooled.seal()
    spooled.close()


async def test_short_data_sets_go_to_files_too_while_memory_is_scarce(spool: Spool) -> None:
    held = [spool.open(f"operation-{n}") for n in range(8)]
    for spooled in held:
        await filled(spooled, bytes(900_000))
    assert spool.memory_used <= 4 * MIB
    assert spool.disk_used > 0
    assert {len(whole(spooled)) for spooled in held} == {900_000}
    for spooled in held:
        spooled.close()


async def test_above_the_limit_a700_and_nothing_is_held(spool: Spool) -> None:
    spooled = spool.open("operation")
    with pytest.raises(Unavailable, match="spool is full") as failure:
        await filled(spooled, bytes(17 * MIB))
    assert failure.value.transient
    assert (spool.memory_used, spool.disk_used) == (0, 0)


async def test_above_high_water_the_spool_has_a_problem(spool: Spool) -> None:
    assert spool.problem == ""
    spooled = spool.open("operation")
    await filled(spooled, bytes(15 * MIB))
    assert "The spool holds" in spool.problem
    spooled.close()
    assert spool.problem == ""


async def test_a_full_disk_is_a700_and_a_problem_until_there_is_space(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "write", full)
        with pytest.raises(Unavailable, match="disk is full") as failure:
            await filled(spool.open("operation"), bytes(2 * MIB))
        assert failure.value.transient
        assert "is full" in spool.problem
    with monkeypatch.context() as disk:
        disk.setattr("dimse_ingestion.spooling.directory.has_free_space", lambda _: False)
        assert "is full" in spool.problem
    assert spool.problem == ""
    assert (spool.memory_used, spool.disk_used) == (0, 0)


async def test_a_directory_that_vanished_is_made_again(spool: Spool, tmp_path: Path) -> None:
    (tmp_path / "spool").rmdir()
    spooled = spool.open("operation")
    await filled(spooled, bytes(2 * MIB))
    assert whole(spooled) == bytes(2 * MIB)
    assert spool.problem == ""
    spooled.close()


async def test_a_directory_that_cannot_be_made_is_a700_until_it_can(
    spool: Spool, tmp_path: Path
) -> None:
    (tmp_path / "spool").rmdir()
    (tmp_path / "spool").write_text("a file in its place")
    with pytest.raises(Unavailable) as failure:
        await filled(spool.open("operation"), bytes(2 * MIB))
    assert failure.value.transient
    assert str(tmp_path) not in failure.value.comment
    assert spool.problem == (
        f"The spool {tmp_path / 'spool'} can't be written (Not a directory): "
        "free space, or mount another."
    )
    (tmp_path / "spool").unlink()
    assert spool.problem == ""
    spooled = spool.open("operation")
    await filled(spooled, bytes(2 * MIB))
    spooled.close()


async def test_the_problem_is_the_current_one(spool: Spool, tmp_path: Path) -> None:
    spool.mark_broken(OSError(errno.EIO, "Input/output error"))
    (tmp_path / "spool").rmdir()
    (tmp_path / "spool").write_text("a file in its place")
    assert "Not a directory" in spool.problem


def test_a_full_disk_at_the_start_is_a_problem_that_may_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    spool = Spool(tmp_path / "spool", Limits())
    with monkeypatch.context() as disk:
        disk.setattr(os, "write", full)
        spool.prepare()
        assert "is full" in spool.problem
    assert spool.problem == ""
    spool.close()


def test_a_directory_that_cannot_be_used_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Not a directory"):
        Spool(tmp_path / "file" / "spool", Limits()).prepare()


async def test_two_of_one_name_never_share_bytes(spool: Spool) -> None:
    first, second = spool.open("operation-1"), spool.open("operation-2")
    await asyncio.gather(filled(first, b"1" * 2 * MIB), filled(second, b"2" * 2 * MIB))
    second.close()
    assert whole(first) == b"1" * 2 * MIB
    first.close()


@pytest.mark.parametrize("size", [1000, 600_000, 3 * MIB])
async def test_an_abandoned_data_set_leaves_nothing(spool: Spool, size: int) -> None:
    gc.collect()
    before = open_descriptors()
    spooled = spool.open("operation")
    spooled.write(bytes(size))
    spooled.abandon()
    spooled.write(bytes(1000))
    await spooled.seal()  # waits for the thread
    spooled.close()
    assert (spool.memory_used, spool.disk_used) == (0, 0)
    assert open_descriptors() <= before


def test_leftovers_of_a_crash_are_removed_and_other_files_are_not(tmp_path: Path) -> None:
    leftover, other = tmp_path / "0192.dataset", tmp_path / "notes.txt"
    leftover.touch()
    other.touch()
    spool = Spool(tmp_path, Limits())
    spool.prepare()
    spool.close()
    assert list(tmp_path.iterdir()) == [other]
