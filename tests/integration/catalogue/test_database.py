"""A database that can't be used is named with its mistake, and probing changes no file."""

import io
import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from dimse_ingestion.catalogue.database import (
    events_transaction,
    missing_file,
    open_engine,
    probe,
    write_transaction,
)
from dimse_ingestion.catalogue.migrate import upgrade
from dimse_ingestion.failures import Unavailable
from harness.postgresql import PostgreSQL

FULL = 2  # of SQLite's PRAGMA synchronous


def problem(url: str) -> str:
    engine = open_engine(url, read_only=True)
    try:
        with pytest.raises(Unavailable) as failure:
            probe(engine)
    finally:
        engine.dispose()
    return failure.value.comment


@pytest.mark.parametrize(
    ("end", "sentence"),
    [
        ("nosuch", "The database that DATABASE_URL names does not exist: create it."),
        ("postgres?user=nosuch", "The catalogue's database refused the credential."),
        ("postgres?sslmode=nonsense", "DATABASE_URL's sslmode has a value that PostgreSQL"),
        ("postgres?keepalives=abc", "DATABASE_URL's keepalives has a value that PostgreSQL"),
        ("postgres?options=-cnosuch%3D1", "DATABASE_URL's nosuch has a value that PostgreSQL"),
        ("postgres?client_encoding=zz", "DATABASE_URL's client_encoding has a value"),
        ("postgres?service=nosuch", "DATABASE_URL's service has a value that PostgreSQL"),
        ("postgres?sslmode=require", "The catalogue's database has no TLS"),
        ("postgres?host=nosuch.invalid", "The catalogue's database server has an unknown name"),
        ("postgres?port=1", "The catalogue's database can't be reached."),
    ],
)
def test_a_connection_that_postgresql_refuses_is_named(
    server: PostgreSQL, lines: io.StringIO, end: str, sentence: str
) -> None:
    assert problem(server.url(end)).startswith(sentence)
    assert "unknown error" not in lines.getvalue()


def test_a_probe_reaches_a_database_without_tables(database_url: str) -> None:
    engine = open_engine(database_url)
    with engine.connect():
        pass
    probe(engine)
    engine.dispose()


def test_a_probe_leaves_a_sqlite_file_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (x)")
    before = path.read_bytes(), path.stat().st_mtime_ns
    engine = open_engine(f"sqlite:///{path}", read_only=True)
    probe(engine)
    engine.dispose()
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert [each.name for each in tmp_path.iterdir()] == ["catalogue.db"]


def test_a_missing_sqlite_file_is_none_once_the_catalogue_has_created_it(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/new/catalogue.db")
    assert missing_file(engine) == tmp_path / "new" / "catalogue.db"
    assert list(tmp_path.iterdir()) == []
    upgrade(engine)
    assert missing_file(engine) is None
    engine.dispose()


def test_a_file_in_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a-file").touch()
    engine = open_engine(f"sqlite:///{tmp_path}/a-file/catalogue.db")
    with pytest.raises(Unavailable, match="Not a directory"):
        upgrade(engine)
    engine.dispose()


def test_a_commit_to_sqlite_waits_for_the_disk(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/catalogue.db")
    for _ in range(2):  # a new connection, and one from the pool
        with write_transaction(engine) as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == FULL
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        with events_transaction(engine) as transaction:
            assert transaction.driver.execute("PRAGMA synchronous").fetchone() == (FULL,)
            assert transaction.driver.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    engine.dispose()


@pytest.mark.parametrize(
    ("of_the_server", "of_a_commit"), [("off", "on"), ("on", "on"), ("local", "local")]
)
def test_a_commit_to_postgresql_waits_for_the_disk_at_least(
    server: PostgreSQL, of_the_server: str, of_a_commit: str
) -> None:
    url = server.make_database(f"durable-{of_the_server}")
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        name = f"durable-{of_the_server}"
        connection.execute(
            f'ALTER DATABASE "{name}" SET synchronous_commit = {of_the_server}'.encode()
        )
    engine = open_engine(url)
    with write_transaction(engine) as connection:
        setting = connection.exec_driver_sql("SHOW synchronous_commit").scalar()
    with events_transaction(engine) as transaction:
        [for_events] = transaction.driver.execute("SHOW synchronous_commit").fetchone()
    engine.dispose()
    assert setting == for_events == of_a_commit
