"""No truncation, damage or failed call makes a file say anything but what was written."""

import errno
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dimse_ingestion.durable import records
from dimse_ingestion.proxy.commitment import record_file
from dimse_ingestion.proxy.commitment.record_file import Damaged
from dimse_ingestion.proxy.commitment.transactions import Decided
from tests.unit.proxy.commitment_examples import accepted

DECIDED = Decided(decided_at=5.0, failures={1: 0x0112})
REQUEST, DECISION = record_file.encode(accepted()), record_file.encode(DECIDED)
WHOLE = REQUEST + DECISION


def written(folder: Path, content: bytes) -> Path:
    path = folder / "a.transaction"
    path.write_bytes(content)
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.transaction"
    length = record_file.create(path, accepted())
    assert record_file.read(path).decided is None
    assert record_file.append(path, DECIDED, length) == len(WHOLE)
    content = record_file.read(path)
    assert (content.accepted, content.decided, content.length) == (
        accepted(),
        DECIDED,
        len(WHOLE),
    )


def test_a_request_cut_anywhere_is_damaged(tmp_path: Path) -> None:
    for length in range(len(REQUEST)):
        with pytest.raises(Damaged):
            record_file.read(written(tmp_path, WHOLE[:length]))


def test_a_decision_cut_anywhere_does_not_count_and_is_overwritten(tmp_path: Path) -> None:
    for length in range(len(REQUEST), len(WHOLE)):
        path = written(tmp_path, WHOLE[:length])
        content = record_file.read(path)
        assert (content.accepted, content.decided) == (accepted(), None)
        assert record_file.append(path, DECIDED, content.length) == len(WHOLE)
        assert record_file.read(path).decided == DECIDED


def test_a_changed_byte_is_found_wherever_it_is(tmp_path: Path) -> None:
    for position in range(len(WHOLE)):
        content = bytearray(WHOLE)
        content[position] ^= 0x01
        path = written(tmp_path, bytes(content))
        if position < len(REQUEST):
            with pytest.raises(Damaged):
                record_file.read(path)
        else:
            assert record_file.read(path).decided is None


def test_a_record_that_is_no_transactions_ends_the_file(tmp_path: Path) -> None:
    """Such a record was never written; its checksum alone makes it no part of a transaction."""
    for kind, head, data in (
        (b"\x89DOB", DECISION[20:], b""),
        (b"\x89DCT", DECISION[20:], b"data"),
        (b"\x89DCT", b"{}", b""),
        (b"\x89DCT", b"\xff", b""),
        (b"\x89DCT", b"[" * 100_000, b""),
    ):
        path = written(tmp_path, REQUEST + records.encode(kind, head, data) + DECISION)
        content = record_file.read(path)
        assert (content.decided, content.length) == (None, len(REQUEST))


@given(st.binary(max_size=300))
@settings(max_examples=200)
def test_any_bytes_behind_a_request_are_passed_over(rest: bytes) -> None:
    with TemporaryDirectory() as folder:
        content = record_file.read(written(Path(folder), REQUEST + rest))
    assert (content.accepted, content.decided) == (accepted(), None)


@pytest.mark.parametrize("call", ["open", "write", "fsync"])
def test_a_request_whose_write_fails_leaves_nothing(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> int:
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patched:
        patched.setattr(os, call, fail)
        with pytest.raises(OSError, match="broken"):
            record_file.create(tmp_path / "a.transaction", accepted())
    assert list(tmp_path.iterdir()) == []


def test_a_request_is_durable_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    path = tmp_path / "a.transaction"
    fsync = os.fsync

    def recording(descriptor: int) -> None:
        kind = "folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "file"
        calls.append(f"{kind}, named: {path.exists()}")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recording)
    record_file.create(path, accepted())
    assert calls == ["file, named: False", "folder, named: True"]


def test_a_decision_whose_write_fails_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.transaction"
    length = record_file.create(path, accepted())
    pwrite = os.pwrite

    def half(descriptor: int, content: bytes, offset: int) -> int:
        pwrite(descriptor, content[: len(content) // 2], offset)
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", half)
        with pytest.raises(OSError, match="full"):
            record_file.append(path, DECIDED, length)
    assert record_file.read(path).decided is None
    record_file.append(path, DECIDED, length)
    assert record_file.read(path).decided == DECIDED
