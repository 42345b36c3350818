import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from dimse_ingestion.failures import Unavailable
from dimse_ingestion.outbox import dead_letters, files, segment_writer
from dimse_ingestion.outbox.dead_letters import Reason
from dimse_ingestion.outbox.folders import Folders, NewerFormat, OutboxInUse
from dimse_ingestion.outbox.opened_entry import Damaged
from dimse_ingestion.outbox.outbox import Outbox
from tests.unit.outbox.data_sets import (
    MIB,
    Content,
    add,
    add_all,
    content,
    contents,
    expected,
    metadata,
    opened,
    take_all,
)


def segment_paths(folder: Path) -> list[Path]:
    return sorted((folder / "segments").glob("*.segment"))


def waiting_metrics() -> tuple[float, float]:
    names = "dimse_outbox_waiting", "dimse_outbox_waiting_bytes"
    entries, octets = (REGISTRY.get_sample_value(name) or 0.0 for name in names)
    return entries, octets


async def test_what_was_added_is_there_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as outbox:
        await add_all(outbox, range(3))
        await add(outbox, 3, 2 * MIB)
        assert len(outbox.queue) == 4
        assert outbox.queue.octets == 3 * 300 + 2 * MIB
    async with opened(tmp_path) as outbox:
        assert await contents(outbox) == expected(range(3)) | expected([3], 2 * MIB)
        assert list(await contents(outbox)) == [f"0190-{n:06d}" for n in range(4)]


@pytest.mark.parametrize("length", [1, MIB - 1, MIB, MIB + 1, 3 * MIB + 7])
async def test_every_length_is_returned_as_it_was(tmp_path: Path, length: int) -> None:
    async with opened(tmp_path) as outbox:
        await add(outbox, 1, length)
        assert await contents(outbox) == expected([1], length)
    async with opened(tmp_path) as outbox:
        (entry,) = take_all(outbox)
        opened_entry = await outbox.open_entry(entry)
        assert opened_entry.metadata == metadata(1, content(1, length))
        assert opened_entry.read(length, 10) == b""
        opened_entry.close()


async def test_what_is_delivered_is_gone_after_a_restart_and_its_segment_too(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as outbox:
        await add_all(outbox, range(4))
        await add(outbox, 4, 2 * MIB)
        for entry in take_all(outbox)[1:]:
            outbox.delivered(entry)
    async with opened(tmp_path) as outbox:
        assert list(await contents(outbox)) == ["0190-000000"]
        for entry in take_all(outbox):
            outbox.delivered(entry)
    assert segment_paths(tmp_path) == []
    assert list((tmp_path / "files").iterdir()) == []
    async with opened(tmp_path) as outbox:
        assert len(outbox.queue) == 0


async def test_the_metrics_of_what_waits_are_right_at_each_moment(tmp_path: Path) -> None:
    at_first = waiting_metrics()
    async with opened(tmp_path) as outbox:
        await add_all(outbox, range(3))
        await add(outbox, 3, 2 * MIB)
        assert waiting_metrics() == (at_first[0] + 4, at_first[1] + 3 * 300 + 2 * MIB)
        first, *_, last = take_all(outbox)
        outbox.delivered(first)
        assert waiting_metrics() == (at_first[0] + 3, at_first[1] + 2 * 300 + 2 * MIB)
        await outbox.drop(last)
        assert waiting_metrics() == (at_first[0] + 2, at_first[1] + 2 * 300)
    outbox.housekeeping.count_waiting()
    assert waiting_metrics() == at_first
    async with opened(tmp_path):
        assert waiting_metrics() == (at_first[0] + 2, at_first[1] + 2 * 300)


async def test_the_metrics_of_what_waits_are_right_during_a_recovery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path) as outbox:
        await add_all(outbox, range(5))
    monkeypatch.setattr("dimse_ingestion.outbox.outbox._ADDED_AT_ONCE", 2)
    at_first = waiting_metrics()[0]
    outbox = Outbox(tmp_path)
    await outbox.lock()
    recovery = asyncio.create_task(outbox.recover())
    seen = {0.0}
    while not recovery.done():
        await asyncio.sleep(0)
        assert waiting_metrics()[0] - at_first == len(outbox.queue)
        seen.add(waiting_metrics()[0] - at_first)
    await outbox.close()
    assert seen == {0, 2, 4, 5}


async def test_the_age_of_the_oldest_ends_with_its_outbox(tmp_path: Path) -> None:
    async with opened(tmp_path) as outbox:
        await add(outbox, 1)
        await outbox.housekeeping.run_once()
        assert (REGISTRY.get_sample_value("dimse_outbox_oldest_seconds") or 0) > 1000
    assert REGISTRY.get_sample_value("dimse_outbox_oldest_seconds") == 0


async def test_additions_at_once_share_syncs_and_each_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs: list[int] = []
    sync = os.fdatasync

    def counted(descriptor: int) -> None:
        syncs.append(descriptor)
        sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", counted)
    async with opened(tmp_path) as outbox:
        await asyncio.gather(*(add(outbox, number) for number in range(100)))
        assert len(await contents(outbox)) == 100
    assert 1 <= len(syncs) < 50
    async with opened(tmp_path) as outbox:
        assert await contents(outbox) == expected(range(100))


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What is made durable, in order; a loss of power takes everything else."""
    synced: list[Path] = []

    def recording(sync: Callable[[int], None]) -> Callable[[int], None]:
        def record(descriptor: int) -> None:
            sync(descriptor)
            synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())

        return record

    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, recording(getattr(os, name)))
    return synced


async def test_a_record_and_the_name_of_its_segment_are_durable_when_it_is_added(
    tmp_path: Path, syncs: list[Path]
) -> None:
    async with opened(tmp_path) as outbox:
        syncs.clear()
        await add(outbox, 1)
        (segment,) = segment_paths(tmp_path)
        assert syncs == [segment.parent, segment]
        await add(outbox, 2)
        assert syncs == [segment.parent, segment, segment]


async def test_a_file_and_its_name_are_durable_when_it_is_added(
    tmp_path: Path, syncs: list[Path]
) -> None:
    async with opened(tmp_path) as outbox:
        syncs.clear()
        await add(outbox, 1, 2 * MIB)
        (file,) = (tmp_path / "files").iterdir()
        assert syncs == [file.with_name(f"{file.name}.part"), file.parent]


async def test_a_drop_is_durable(tmp_path: Path, syncs: list[Path]) -> None:
    async with opened(tmp_path) as outbox:
        await add(outbox, 1)
        await add(outbox, 2, 2 * MIB)
        record, file = take_all(outbox)
        syncs.clear()
        await outbox.drop(record)
        assert [each.name for each in syncs] == [
            segment_paths(tmp_path)[0].name.replace(".segment", ".marks"),
            "segments",
        ]
        syncs.clear()
        await outbox.drop(file)
        assert syncs == [tmp_path / "files"]
        assert not list((tmp_path / "files").iterdir())


async def test_a_dead_letter_is_durable_before_its_data_set_waits_no_longer(
    tmp_path: Path, syncs: list[Path]
) -> None:
    async with opened(tmp_path) as outbox:
        await add(outbox, 1, 2 * MIB)
        (entry,) = take_all(outbox)
        opened_entry = await outbox.open_entry(entry)
        syncs.clear()
        await outbox.refuse(entry, opened_entry, Reason(status="C000"))
        opened_entry.close()
        folders = outbox.folders
        reason = dead_letters.reason_path(folders.dead()[0])
        part = reason.with_name(f"{reason.name}.part")
        assert syncs == [part, folders.dead_letters, folders.dead_letters, folders.files]


async def test_a_full_segment_is_deleted_when_all_of_it_is_delivered(tmp_path: Path) -> None:
    async with opened(tmp_path, segment_length=1000) as outbox:
        await add_all(outbox, range(12))
        assert len(segment_paths(tmp_path)) > 2
        for entry in take_all(outbox):
            outbox.delivered(entry)
    assert segment_paths(tmp_path) == []


async def test_two_processes_never_use_one_outbox(tmp_path: Path) -> None:
    async with opened(tmp_path):
        with pytest.raises(OutboxInUse):
            async with opened(tmp_path):
                pass
    async with opened(tmp_path):
        pass


@pytest.mark.parametrize("name", ["segments/0000000001-00000000.v2.segment", "files/a.v2.dataset"])
async def test_files_of_a_newer_release_are_refused_and_left(tmp_path: Path, name: str) -> None:
    Folders(tmp_path).create()
    (tmp_path / name).write_bytes(b"newer")
    with pytest.raises(NewerFormat, match="v2"):
        async with opened(tmp_path):
            pass
    assert (tmp_path / name).read_bytes() == b"newer"


async def test_a_segment_truncated_anywhere_loses_no_record_before_it(tmp_path: Path) -> None:
    async with opened(tmp_path / "made") as outbox:
        await add_all(outbox, range(2), 20)
        ends = [entry.offset + entry.length for entry in take_all(outbox)]
    (made,) = segment_paths(tmp_path / "made")
    whole = made.read_bytes()
    assert len(whole) == ends[-1]
    for length in range(0, len(whole), 3):
        folder = tmp_path / str(length)
        Folders(folder).create()
        (folder / "segments" / made.name).write_bytes(whole[:length])
        async with opened(folder) as outbox:
            intact = sum(end <= length for end in ends)
            assert list(await contents(outbox)) == [f"0190-{n:06d}" for n in range(intact)]
            rest = length - (ends[intact - 1] if intact else 0)
            quarantined = [path.read_bytes() for path in outbox.folders.quarantined()]
        assert b"".join(quarantined) == whole[length - rest : length]


async def test_damage_within_a_segment_is_in_quarantine_and_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with opened(tmp_path) as outbox:
        await add_all(outbox, range(3))
        damaged = take_all(outbox)[1]
    (path,) = segment_paths(tmp_path)
    whole = bytearray(path.read_bytes())
    whole[damaged.offset + damaged.length - 5] ^= 0xFF
    path.write_bytes(whole)
    for _ in range(2):
        async with opened(tmp_path) as outbox:
            assert list(await contents(outbox)) == ["0190-000000", "0190-000002"]
            (quarantined,) = outbox.folders.quarantined()
            start = damaged.offset
            assert quarantined.read_bytes() == whole[start : start + damaged.length]


async def test_damage_found_while_forwarding_is_in_quarantine(tmp_path: Path) -> None:
    async with opened(tmp_path) as outbox:
        await add(outbox, 1)
        await add(outbox, 2, 2 * MIB)
        record, file = take_all(outbox)
        (segment,) = segment_paths(tmp_path)
        for path, position in ((segment, record.length - 1), (Path(str(file.place)), 9)):
            with path.open("r+b") as changed:
                changed.seek(position)
                changed.write(b"\0damage" if position == 9 else b"\x99")
        for entry in (record, file):
            with pytest.raises(Damaged, match="changed"):
                await outbox.open_entry(entry, verify=True)
            await outbox.quarantine(entry, "changed")
        assert len(outbox.queue) == 0
        assert len(outbox.folders.quarantined()) == 2
    async with opened(tmp_path) as outbox:
        assert len(outbox.queue) == 0
        assert len(outbox.folders.quarantined()) == 2


@pytest.mark.parametrize("cut", [0, 1, 100, 2 * MIB, 2 * MIB + 40])
async def test_a_truncated_file_is_in_quarantine(tmp_path: Path, cut: int) -> None:
    async with opened(tmp_path) as outbox:
        await add(outbox, 1, 2 * MIB)
    (path,) = (tmp_path / "files").iterdir()
    os.truncate(path, cut)
    async with opened(tmp_path) as outbox:
        assert len(outbox.queue) == 0
        assert [each.name for each in outbox.folders.quarantined()] == [path.name]


async def test_a_file_whose_writing_never_ended_is_removed(tmp_path: Path) -> None:
    Folders(tmp_path).create()
    part = tmp_path / "files" / "operation.v1.dataset.part"
    part.write_bytes(b"half")
    async with opened(tmp_path) as outbox:
        assert len(outbox.queue) == 0
    assert not part.exists()


@pytest.mark.parametrize("length", [300, 2 * MIB])
async def test_a_refused_data_set_is_a_dead_letter_until_it_is_retried(
    tmp_path: Path, length: int
) -> None:
    async with opened(tmp_path) as outbox:
        await add(outbox, 1, length)
        (entry,) = take_all(outbox)
        reason = Reason(status="C000", comment="No SOP Instance UID", refused_at=5.0)
        await outbox.refuse(entry, await outbox.open_entry(entry), reason)
        assert len(outbox.queue) == 0
    async with opened(tmp_path) as outbox:
        assert len(outbox.queue) == 0
        (dead,) = outbox.folders.dead()
        assert dead_letters.read_reason(dead) == reason
        letter = files.open_file(dead)
        assert letter.read(0, length) == content(1, length)
        letter.close()
        dead_letters.retry(outbox.folders, dead)
        await asyncio.wait_for(outbox_has(outbox, 1), 30)
        assert await contents(outbox) == expected([1], length)
        assert list(outbox.folders.dead_letters.iterdir()) == []


async def outbox_has(outbox: Outbox, count: int) -> None:
    while len(outbox.queue) != count:
        outbox.added.clear()
        if len(outbox.queue) != count:
            await outbox.added.wait()


async def test_a_data_set_is_dropped_on_request_and_stays_dropped(tmp_path: Path) -> None:
    async with opened(tmp_path) as outbox:
        await add_all(outbox, range(3))
        await add(outbox, 3, 2 * MIB)
    for number in (1, 3):
        dead_letters.request_drop(Folders(tmp_path), f"0190-{number:06d}")
    for _ in range(2):
        async with opened(tmp_path) as outbox:
            assert list(await contents(outbox)) == ["0190-000000", "0190-000002"]
    assert list((tmp_path / "requests").iterdir()) == []


async def test_above_the_high_water_mark_nothing_is_taken_and_nothing_lost(tmp_path: Path) -> None:
    async with opened(tmp_path, octets=3 * MIB, high_water=0.5) as outbox:
        await add(outbox, 1)
        await add(outbox, 2, 2 * MIB)
        with pytest.raises(Unavailable, match="DIMSE_SPOOL_LIMIT"):
            await add(outbox, 3)
        assert "DIMSE_SPOOL_LIMIT" in outbox.problem
    async with opened(tmp_path) as outbox:
        assert outbox.problem == ""
        assert len(outbox.queue) == 2


async def test_a_disk_that_is_full_refuses_and_is_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with opened(tmp_path) as outbox:
        await add(outbox, 1)
        with monkeypatch.context() as disk:
            disk.setattr(os, "fdatasync", full)
            with pytest.raises(Unavailable):
                await add(outbox, 2)
            assert "is full" in outbox.problem
        await outbox.housekeeping.run_once()
        assert outbox.problem == ""
        await add(outbox, 3)
    async with opened(tmp_path) as outbox:
        assert {"0190-000001", "0190-000003"} <= (await contents(outbox)).keys()


async def test_an_error_that_is_not_the_disks_leaves_the_writer_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise MemoryError

    async with opened(tmp_path) as outbox, asyncio.timeout(60):
        with monkeypatch.context() as patched:
            patched.setattr(segment_writer, "encode_record", fail)
            with pytest.raises(MemoryError):
                await add(outbox, 1)
        await add(outbox, 2)
        assert await contents(outbox) == {"0190-000002": content(2)}


async def test_a_deleted_folder_is_no_acknowledgement(tmp_path: Path) -> None:
    async with opened(tmp_path) as outbox:
        await add(outbox, 1)
        segment_paths(tmp_path)[0].unlink()
        with pytest.raises(Unavailable):
            await add(outbox, 2)


async def test_a_source_that_is_short_is_not_acknowledged(tmp_path: Path) -> None:
    data = content(1, 2 * MIB)
    async with opened(tmp_path) as outbox:
        with pytest.raises(Unavailable):
            await outbox.add(metadata(1, data), Content(data[:-1]))
        assert len(outbox.queue) == 0
    assert list((tmp_path / "files").iterdir()) == []
