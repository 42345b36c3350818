"""The catalogue's file keeps its locks, its log and its place while it is in use."""

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text

from dimse_ingestion.catalogue.database import check, open_engine, write_transaction
from dimse_ingestion.catalogue.migrate import upgrade
from dimse_ingestion.catalogue.record import record
from dimse_ingestion.catalogue.sqlite_file import create_private
from dimse_ingestion.failures import Unavailable
from tests.instances import event

READ_IN_ANOTHER_PROCESS = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT count(*) FROM objects").fetchone()
connection.close()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalogue.db"


@pytest.fixture
def engine(path: Path) -> Iterator[Engine]:
    opened = open_engine(f"sqlite:///{path}")
    upgrade(opened)
    yield opened
    opened.dispose()


def locks(path: Path) -> list[str]:
    """Return the POSIX locks that this process holds on the file, as the kernel lists them."""
    inode = f":{path.stat().st_ino}"
    lines = (line.split() for line in Path("/proc/locks").read_text().splitlines())
    return [each[3] for each in lines if each[4] == str(os.getpid()) and each[5].endswith(inode)]


def open_several(engine: Engine) -> None:
    """Open further connections of the pool, as concurrent queries do."""
    connections: list[Connection] = [engine.connect() for _ in range(5)]
    for each in connections:
        each.execute(text("SELECT 1 FROM objects")).all()
    for each in connections:
        each.close()


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="locks are listed on Linux alone")
def test_further_connections_leave_the_locks_of_earlier_ones(engine: Engine, path: Path) -> None:
    assert locks(path) == ["READ"]
    open_several(engine)
    assert locks(path) == ["READ"]


def test_another_process_that_reads_the_file_leaves_its_log(engine: Engine, path: Path) -> None:
    record(engine, [event("a")], "latest")
    open_several(engine)
    log = path.with_name("catalogue.db-wal").stat().st_ino
    subprocess.run([sys.executable, "-c", READ_IN_ANOTHER_PROCESS, str(path)], check=True)
    assert path.with_name("catalogue.db-wal").stat().st_ino == log


def test_a_new_file_is_its_owners_alone_and_an_old_one_is_not_opened(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_private(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    monkeypatch.setattr(os, "close", lambda _: pytest.fail("its locks would be dropped"))
    create_private(path)


def test_a_link_to_a_missing_file_creates_that_private(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "folder" / "catalogue.db")
    create_private(tmp_path / "link.db")
    assert stat.S_IMODE((tmp_path / "folder" / "catalogue.db").stat().st_mode) == 0o600


def remove_log(path: Path) -> None:
    path.with_name("catalogue.db-wal").unlink()


def move(path: Path) -> None:
    path.rename(path.with_name("moved.db"))


def replace(path: Path) -> None:
    sqlite3.connect(path.with_name("other.db")).close()
    path.with_name("other.db").rename(path)


@pytest.mark.parametrize("meddle", [remove_log, move, replace])
def test_nothing_is_accepted_into_a_file_that_would_be_lost(
    engine: Engine, path: Path, meddle: Callable[[Path], None]
) -> None:
    assert record(engine, [event("a")], "latest") == ["new"]
    meddle(path)
    for use in (lambda: record(engine, [event("b")], "latest"), lambda: check(engine)):
        with pytest.raises(Unavailable, match="moved or removed while in use") as failure:
            use()
        assert failure.value.transient


def test_without_a_write_ahead_log_there_is_none_to_miss(path: Path) -> None:
    """A file system without shared memory keeps SQLite at its rollback journal."""
    engine = open_engine(f"sqlite:///file:{path}?vfs=unix-none&uri=true")
    with write_transaction(engine) as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "delete"
        connection.execute(text("CREATE TABLE objects (id INTEGER)"))
    check(engine)
    engine.dispose()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_catalogue_in_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="DATABASE_URL"):
        open_engine("sqlite:///:memory:")
