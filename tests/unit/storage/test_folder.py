"""Tests of the folder alone; tests of every kind of bucket are among the integration tests."""

import errno
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dimse_ingestion.failures import AccessDenied, Failure, LimitExceeded, Unavailable
from dimse_ingestion.storage.contract import StoredObject
from dimse_ingestion.storage.folder import FolderBucket

KEY = "instances/ab/abcd-1.2/1.2.3.dcm"


async def chunks(*given: bytes) -> AsyncIterator[bytes]:
    for each in given:
        yield each


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def failure(bucket: FolderBucket) -> Failure:
    with pytest.raises(Failure) as raised:
        await bucket.put(KEY, chunks(b"abc"), 3)
    return raised.value


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/./b", "a/"])
async def test_no_key_leads_out_of_the_folder(tmp_path: Path, key: str) -> None:
    bucket = FolderBucket(tmp_path / "bucket")
    with pytest.raises(ValueError, match="key"):
        await bucket.put(key, chunks(b"x"), 1)
    with pytest.raises(ValueError, match="key"):
        await bucket.get_range(key, 0, 1)


FOLDERS = ["instances/ab/abcd-1.2", "instances/ab", "instances", "."]


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what was synced or renamed, in order."""
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def seen_fsync(file: int) -> None:
        place = Path(f"/proc/self/fd/{file}").readlink()
        done.append("file" if place.is_file() else str(place.relative_to(tmp_path)))
        fsync(file)

    def seen_replace(source: str, target: str) -> None:
        done.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(os, "replace", seen_replace)
    return done


async def test_file_and_every_folder_above_are_synced_in_order(
    tmp_path: Path, steps: list[str]
) -> None:
    await FolderBucket(tmp_path).put(KEY, chunks(b"abc"), 3)
    assert steps == ["file", "rename", *FOLDERS]


async def test_folders_that_another_process_created_are_synced_once(
    tmp_path: Path, steps: list[str]
) -> None:
    (tmp_path / "instances/ab").mkdir(parents=True)
    bucket = FolderBucket(tmp_path)
    await bucket.put(KEY, chunks(b"abc"), 3)
    assert steps == ["file", "rename", *FOLDERS]
    steps.clear()
    await bucket.put(KEY.replace("abcd", "abef"), chunks(b"abc"), 3)
    folders = ["instances/ab/abef-1.2", "instances/ab"]
    assert steps == ["file", "rename", *folders]


async def test_folders_of_the_first_upload_are_synced_again_by_the_second(
    tmp_path: Path, steps: list[str]
) -> None:
    bucket = FolderBucket(tmp_path)
    await bucket.put(KEY, chunks(b"abc"), 3)
    steps.clear()
    await bucket.put(KEY, chunks(b"abc"), 3)
    assert steps == ["file", "rename", *FOLDERS]
    steps.clear()
    await bucket.put(KEY, chunks(b"abc"), 3)
    assert steps == ["file", "rename", "instances/ab/abcd-1.2"]


async def test_a_new_object_is_put_once_and_its_folders_are_synced_each_time(
    tmp_path: Path, steps: list[str]
) -> None:
    bucket = FolderBucket(tmp_path)
    assert await bucket.put_new(KEY, chunks(b"abc"), 3) is None
    assert steps == ["file", "rename", *FOLDERS]
    steps.clear()
    existing = await FolderBucket(tmp_path).put_new(KEY, chunks(b"other"), 5)
    assert existing == StoredObject(KEY, 3)
    assert steps == FOLDERS
    assert (tmp_path / KEY).read_bytes() == b"abc"
    assert list((tmp_path / ".uploads").iterdir()) == []


async def test_a_removed_folder_is_created_again(tmp_path: Path) -> None:
    bucket = FolderBucket(tmp_path)
    for _ in range(2):
        await bucket.put(KEY, chunks(b"abc"), 3)
        shutil.rmtree(tmp_path / "instances")
    await bucket.put(KEY, chunks(b"abc"), 3)
    assert (tmp_path / KEY).read_bytes() == b"abc"


async def test_a_small_object_is_one_call_in_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = FolderBucket(tmp_path)
    await bucket.put("first", chunks(b"x"), 1)
    calls: list[object] = []
    submit = ThreadPoolExecutor.submit

    def counted(self: ThreadPoolExecutor, call: Callable[..., object], *args: object) -> object:
        calls.append(call)
        return submit(self, call, *args)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", counted)
    await bucket.put(KEY, chunks(b"header", b"", bytes(500_000), b"end"), 500_009)
    assert len(calls) == 1
    assert (tmp_path / KEY).stat().st_size == 500_009


async def test_very_many_chunks_and_short_writes_give_the_whole_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = [bytes([number % 251]) * (number % 7 + 1) for number in range(3000)]
    writev = os.writev
    monkeypatch.setattr(os, "writev", lambda file, rest: writev(file, [rest[0][:3]]))
    await FolderBucket(tmp_path).put(KEY, chunks(*pieces), sum(map(len, pieces)))
    assert (tmp_path / KEY).read_bytes() == b"".join(pieces)


async def test_a_missing_folder_is_not_created(tmp_path: Path) -> None:
    root = tmp_path / "not-mounted"
    bucket = FolderBucket(root)
    assert "is missing: create or mount" in (await failure(bucket)).comment
    assert not root.exists()
    for call in (bucket.check(), bucket.get_range(KEY, 0, 1)):
        with pytest.raises(Unavailable, match="is missing") as raised:
            await call
        assert raised.value.transient
    with pytest.raises(Unavailable, match="is missing"):
        assert [found async for found in bucket.list()]


@pytest.mark.parametrize(
    ("number", "kind", "transient", "sentence"),
    [
        (errno.ENOSPC, Unavailable, True, "is full: free space"),
        (errno.EDQUOT, Unavailable, True, "is full: free space"),
        (errno.EFBIG, LimitExceeded, False, "takes no file of this size"),
        (errno.EACCES, AccessDenied, True, "let this user write"),
        (errno.EPERM, AccessDenied, True, "let this user write"),
        (errno.EROFS, AccessDenied, True, "let this user write"),
        (errno.EIO, Unavailable, True, "fails: Input/output error"),
    ],
)
async def test_an_error_while_writing_has_a_sentence_and_leaves_no_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    kind: type[Failure],
    transient: bool,
    sentence: str,
) -> None:
    def failing(file: int, pieces: list[bytes]) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, "writev", failing)
        failed_with = await failure(FolderBucket(tmp_path))
    assert (type(failed_with), failed_with.transient) == (kind, transient)
    assert sentence in failed_with.comment
    assert str(tmp_path) in failed_with.comment
    assert files(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
async def test_a_full_disk_of_the_system_has_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open
    monkeypatch.setattr(os, "open", lambda *_: opened("/dev/full", os.O_WRONLY))
    assert "is full: free space" in (await failure(FolderBucket(tmp_path))).comment


async def test_files_of_killed_processes_are_deleted_but_not_those_being_written(
    tmp_path: Path,
) -> None:
    uploads = tmp_path / ".uploads"
    uploads.mkdir()
    (uploads / "abandoned").write_bytes(b"x")
    two_days_ago = time.time() - 48 * 3600
    os.utime(uploads / "abandoned", (two_days_ago, two_days_ago))
    (uploads / "under-way").write_bytes(b"y")
    await FolderBucket(tmp_path).put(KEY, chunks(b"abc"), 3)
    assert [left.name for left in uploads.iterdir()] == ["under-way"]


async def test_an_unfinished_upload_is_not_listed(tmp_path: Path) -> None:
    bucket = FolderBucket(tmp_path)

    async def listing() -> AsyncIterator[bytes]:
        yield bytes(2 << 20)
        assert [found async for found in bucket.list()] == []
        assert [left.stat().st_size for left in (tmp_path / ".uploads").iterdir()] == [2 << 20]

    await bucket.put(KEY, listing(), 2 << 20)
    assert [found.key async for found in bucket.list()] == [KEY]
    assert list((tmp_path / ".uploads").iterdir()) == []


async def test_a_check_leaves_no_file(tmp_path: Path) -> None:
    await FolderBucket(tmp_path).check(write=True)
    assert files(tmp_path) == []
