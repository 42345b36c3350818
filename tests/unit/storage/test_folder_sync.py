"""Uploads at the same time share the sync of a folder, but only one that starts in time."""

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from dimse_ingestion.storage.folder_sync import FolderSyncs
from harness.services import eventually


class SlowDisk:
    """Syncs that wait until they are released, and how many there were."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.syncs = 0
        self.started = threading.Semaphore(0)
        self.may_end = threading.Semaphore(0)
        self.error: OSError | None = None
        monkeypatch.setattr(os, "fsync", self._sync)

    def _sync(self, _: int) -> None:
        self.syncs += 1
        self.started.release()
        assert self.may_end.acquire(timeout=10)
        if self.error is not None:
            error, self.error = self.error, None
            raise error


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> SlowDisk:
    return SlowDisk(monkeypatch)


def _start(
    syncs: FolderSyncs, folder: Path, pool: ThreadPoolExecutor, count: int
) -> list[Future[None]]:
    """Start syncs behind one that is under way, and return when all of them wait."""
    waiting = [pool.submit(syncs.sync_one, str(folder)) for _ in range(count)]
    eventually(lambda: syncs._shared[str(folder)].waiting, lambda seen: seen == count + 1)
    return waiting


def test_a_sync_that_has_started_is_not_shared_but_the_next_one_is(
    tmp_path: Path, disk: SlowDisk
) -> None:
    syncs = FolderSyncs(str(tmp_path))
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(syncs.sync_one, str(tmp_path))
        assert disk.started.acquire(timeout=10)
        others = _start(syncs, tmp_path, pool, 6)
        disk.may_end.release()
        first.result(10)
        assert disk.started.acquire(timeout=10)
        assert not any(each.done() for each in others)
        disk.may_end.release()
        for each in others:
            each.result(10)
    assert disk.syncs == 2


def test_a_failed_sync_fails_its_own_upload_alone(tmp_path: Path, disk: SlowDisk) -> None:
    syncs = FolderSyncs(str(tmp_path))
    disk.error = OSError("broken")
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(syncs.sync_one, str(tmp_path))
        assert disk.started.acquire(timeout=10)
        (second,) = _start(syncs, tmp_path, pool, 1)
        for _ in range(2):
            disk.may_end.release()
        with pytest.raises(OSError, match="broken"):
            first.result(10)
        second.result(10)
    assert disk.syncs == 2


def test_a_missing_root_is_not_created(tmp_path: Path) -> None:
    root = tmp_path / "missing"
    with pytest.raises(FileNotFoundError):
        FolderSyncs(str(root)).create(str(root / "a/b"))
    assert not root.exists()


def test_only_created_folders_are_returned(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    syncs = FolderSyncs(str(tmp_path))
    assert syncs.create(str(tmp_path / "a/b/c")) == {str(tmp_path / "a/b"), str(tmp_path / "a/b/c")}
    assert syncs.create(str(tmp_path / "a/b/c")) == set()
