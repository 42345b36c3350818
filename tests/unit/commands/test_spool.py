"""The commands on a proxy's spool, by their command line, beside an outbox that is in use."""

import hashlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from pydicom import dcmread
from typer.testing import CliRunner, Result

from dimse_ingestion.cli import app
from dimse_ingestion.commands import spool as spool_commands
from dimse_ingestion.outbox.browse import Item, State
from dimse_ingestion.outbox.dead_letters import Reason
from dimse_ingestion.outbox.outbox import Outbox
from dimse_ingestion.proxy.operation_ids import new_operation_id
from dimse_ingestion.proxy.spooled_client import SpooledClient
from tests.unit.outbox.data_sets import Content, opened
from tests.unit.proxy.fakes import FakeRequester
from tests.unit.proxy.test_forwarder import store_open

DATA_SET = b"\x08\x00\x18\x00UI\x06\x001.2.1\x00"
DIGEST = hashlib.sha256(DATA_SET).hexdigest()
REASON = Reason(status="C000", comment="Not [bold]DICOM", refused_at=1_700_000_000.0)


@pytest.fixture
async def outbox(tmp_path: Path) -> AsyncIterator[Outbox]:
    """Yield an open outbox in which operation 1 is a dead letter and 2 and 3 wait."""
    async with opened(tmp_path / "spool" / "outbox") as outbox:
        client = SpooledClient(outbox, FakeRequester(), clock=lambda: 1_600_000_000.0)
        for number in (1, 2, 3):
            open_ = msgspec.structs.replace(store_open(number, len(DATA_SET)), sha256=DIGEST)
            await client.store(open_, Content(DATA_SET), deadline=1.0)
        entry = outbox.queue.take(0.0)
        assert entry is not None
        await outbox.refuse(entry, await outbox.open_entry(entry), REASON)
        yield outbox


def spool(outbox: Outbox, command: str, *arguments: str, answers: str = "") -> Result:
    directory = outbox.folders.root.parent
    line = ["spool", command, *arguments, "--directory", str(directory)]
    return CliRunner().invoke(app, line, input=answers)


async def test_list_shows_what_waits_and_what_is_dead(outbox: Outbox) -> None:
    result = spool(outbox, "list")
    assert result.exit_code == 0
    assert "0190-000001" in result.output
    assert "C000 Not [bold]DICOM" in re.sub(r"\s+", " ", result.output)
    assert "2 waiting, 1 dead letters, 0 in quarantine" in result.output


@pytest.mark.parametrize("columns", ["40", "80", "200"])
async def test_list_shows_whole_operation_ids_and_reasons_at_any_width(
    outbox: Outbox, columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    operation_id, comment = new_operation_id(), "A long reason " * 20
    open_ = msgspec.structs.replace(store_open(4, len(DATA_SET)), operation_id=operation_id)
    await SpooledClient(outbox, FakeRequester()).store(open_, Content(DATA_SET), deadline=1.0)
    entry = outbox.queue.entries()[-1]
    reason = Reason(status="A900", comment=comment.strip())
    await outbox.refuse(entry, await outbox.open_entry(entry), reason)
    lines = [each for each in spool(outbox, "list").output.splitlines() if operation_id in each]
    assert len(lines) == 1
    assert comment.strip() in lines[0]


async def test_show_has_the_reason_and_the_request(outbox: Outbox) -> None:
    result = spool(outbox, "show", "0190-000001")
    for line in ("state: dead letter", "status: C000", "SOP instance: 1.2.1", "calling AE title"):
        assert line in result.output
    assert "received: 2020-09-13T12:26:40+00:00" in result.output


async def test_an_unknown_id_and_a_missing_folder_are_sentences(
    outbox: Outbox, tmp_path: Path
) -> None:
    result = spool(outbox, "show", "other")
    assert (result.exit_code, "other is not in the spool" in result.output) == (2, True)
    missing = CliRunner().invoke(app, ["spool", "list", "--directory", str(tmp_path / "none")])
    assert (missing.exit_code, "There is no spool directory" in missing.output) == (2, True)


async def test_export_writes_dicom_files(outbox: Outbox, tmp_path: Path) -> None:
    folder = tmp_path / "exported"
    result = spool(outbox, "export", "--to", str(folder), "0190-000001", "0190-000002")
    assert result.exit_code == 0, result.output
    for number in (1, 2):
        exported = dcmread(folder / f"0190-{number:06d}.dcm")
        assert exported.SOPInstanceUID == "1.2.1"
        assert exported.file_meta.MediaStorageSOPInstanceUID == f"1.2.{number}"


async def test_retry_has_dead_letters_forwarded_again(outbox: Outbox) -> None:
    result = spool(outbox, "retry")
    assert (result.exit_code, "1 will be forwarded again" in result.output) == (0, True)
    await outbox.housekeeping.run_once()
    assert len(outbox.queue) == 3
    again = spool(outbox, "retry", "0190-000001")
    assert (again.exit_code, "waits already" in again.output) == (2, True)


@pytest.mark.parametrize("answers", ["n\n", "y\nn\n"])
async def test_drop_asks_twice(outbox: Outbox, answers: str) -> None:
    result = spool(outbox, "drop", "0190-000001", "0190-000002", answers=answers)
    assert (result.exit_code, "Nothing is deleted." in result.output) == (1, True)
    await outbox.housekeeping.run_once()
    assert (len(outbox.queue), len(outbox.folders.dead())) == (2, 1)


@pytest.mark.parametrize(("options", "answers"), [((), "y\ny\n"), (("--yes",), "")])
async def test_drop_deletes_dead_letters_at_once_and_what_waits_by_the_proxy(
    outbox: Outbox, options: tuple[str, ...], answers: str
) -> None:
    result = spool(outbox, "drop", "0190-000001", "0190-000002", *options, answers=answers)
    assert result.exit_code == 0, result.output
    await outbox.housekeeping.run_once()
    assert (len(outbox.queue), outbox.folders.dead()) == (1, [])
    assert "1 waiting, 0 dead letters" in spool(outbox, "list").output


async def test_export_also_writes_what_waits(outbox: Outbox, tmp_path: Path) -> None:
    folder = tmp_path / "exported"
    assert spool(outbox, "export", "--to", str(folder)).exit_code == 0
    assert [path.name for path in folder.iterdir()] == ["0190-000001.dcm"]
    assert spool(outbox, "export", "--to", str(folder), "--waiting").exit_code == 0
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"0190-00000{number}.dcm" for number in (1, 2, 3)]


async def test_export_leaves_out_what_was_forwarded_meanwhile(
    outbox: Outbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "exported"
    write, is_first = spool_commands._write_part10, iter([True])

    def forwarded_first(item: Item, folder: Path) -> Path:
        if item.state is State.WAITING and next(is_first, False):
            raise FileNotFoundError
        return write(item, folder)

    monkeypatch.setattr(spool_commands, "_write_part10", forwarded_first)
    result = spool(outbox, "export", "--to", str(folder), "--waiting")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in folder.iterdir()) == [
        "0190-000001.dcm",
        "0190-000003.dcm",
    ]


async def test_export_refuses_bytes_that_have_changed(outbox: Outbox, tmp_path: Path) -> None:
    (path,) = outbox.folders.dead()
    path.write_bytes(path.read_bytes().replace(b"1.2.1\0", b"1.2.9\0"))
    folder = tmp_path / "exported"
    result = spool(outbox, "export", "--to", str(folder))
    assert (result.exit_code, "0190-000001 is damaged" in result.output) == (1, True)
    assert list(folder.iterdir()) == []


async def test_an_id_that_is_given_twice_is_dropped_once(outbox: Outbox) -> None:
    result = spool(outbox, "drop", "0190-000001", "0190-000001", "--yes")
    assert (result.exit_code, result.output) == (0, "1 deleted.\n")
