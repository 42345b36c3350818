"""The catalogue's database: engine, transactions, and its errors as Unavailable.

SQLAlchemy's synchronous engine is used in threads: a batch of events is one change of thread, not
one for each statement. The URL chooses SQLite or PostgreSQL. Tables are in `tables`, migrations in
`migrate`.
"""

import os
import re
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnectionInTime

from dimse_ingestion.catalogue.database_url import parse_database_url
from dimse_ingestion.catalogue.prepared import Transaction
from dimse_ingestion.catalogue.sqlite_file import OpenFile, create_private
from dimse_ingestion.failures import Unavailable
from dimse_ingestion.observability.logging import logger

_LOG = logger(__name__)
_WRITERS_LOCK = 0x44494D53  # key of the advisory lock of this catalogue's writers; any number
_LOCK_TIMEOUT = 10  # seconds for a lock, a connection from the pool, a reply on a dead connection
_RETRY_INTERVAL = 0.02  # seconds until a busy SQLite is tried again
_LEAST_CONNECTIONS = 3  # one to commit, one for queries, one for the probe
_BEGIN_WRITING_SQLITE = "BEGIN IMMEDIATE"
_BEGIN_WRITING = """
    SELECT set_config('lock_timeout', %s, true),
           set_config('synchronous_commit', CASE synchronous WHEN 'off' THEN 'on'
                                            ELSE synchronous END, true),
           pg_advisory_xact_lock(%s)
      FROM current_setting('synchronous_commit') AS synchronous
"""
"""A server with `synchronous_commit=off` waits for its disk here: a 2xx must outlive a crash."""
_OPEN_FILE = "open_file"  # key of the `OpenFile` in the info of a SQLite connection
_PROGRESS_STEPS = 20_000  # of SQLite's virtual machine, some milliseconds
_POSTGRESQL = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": _LOCK_TIMEOUT * 1000,
}


def open_engine(url: str, connections: int = 10, *, read_only: bool = False) -> Engine:
    """Return an engine, not connected yet; a `read_only` one leaves a SQLite file as it is.

    Raises ValueError with a sentence, without the URL's password, when the URL is invalid.
    """
    parsed = parse_database_url(url)
    try:
        return _engine(parsed, max(connections, _LEAST_CONNECTIONS), read_only=read_only)
    except (ArgumentError, ModuleNotFoundError, TypeError, ValueError) as wrong:
        raise ValueError("DATABASE_URL can't be used: correct its options after `?`.") from wrong


def _engine(url: URL, connections: int, *, read_only: bool) -> Engine:
    sqlite = url.drivername == "sqlite"
    engine = create_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=_LOCK_TIMEOUT,
        pool_pre_ping=not sqlite,
        hide_parameters=True,
        connect_args={"timeout": _LOCK_TIMEOUT} if sqlite else _POSTGRESQL,
    )
    if sqlite and not read_only:
        path = _sqlite_path(url)
        event.listen(engine, "do_connect", lambda *_: create_private(Path(path)))
        event.listen(engine, "connect", lambda each, record: _prepare_sqlite(each, record, path))
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _sqlite_path(url: URL) -> str:
    """Return the path of a SQLite URL's file, also of a SQLite URI (`file:…?uri=true`)."""
    return str(url.database).removeprefix("file:")


def _prepare_sqlite(connection: Any, record: Any, path: str) -> None:
    """Set WAL, for readers beside the writer, and FULL: a 2xx must outlive a power cut."""
    connection.isolation_level = None  # `_begin_sqlite` begins transactions, not the driver
    mode = _switch_to_wal(connection)
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
    record.info[_OPEN_FILE] = OpenFile.at(path, has_log=mode == "wal")


def _switch_to_wal(connection: sqlite3.Connection) -> str:
    """Return the journal mode, which is not `wal` on a file system without shared memory.

    Retried while another process switches, because SQLite's own timeout does not apply to that.
    """
    deadline = time.monotonic() + _LOCK_TIMEOUT
    while True:
        try:
            return str(connection.execute("PRAGMA journal_mode=WAL").fetchone()[0])
        except sqlite3.OperationalError as refused:
            if refused.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_INTERVAL)


def _begin_sqlite(connection: Connection) -> None:
    """Begin a transaction; a writer takes SQLite's lock at once.

    With a plain BEGIN the lock is taken at the first write. If another process has written since
    the transaction's first read, SQLite then fails at once (SQLITE_BUSY) instead of waiting.
    """
    writes = connection.get_execution_options().get("writes")
    driver: Any = connection.connection.driver_connection
    if not driver.in_transaction:  # as one of `sql_execution` may be
        connection.exec_driver_sql(_BEGIN_WRITING_SQLITE if writes else "BEGIN")


@contextmanager
def write_transaction(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that writes, one at a time over all replicas; commit at the block's end.

    There is one writer because a batch decides by what it reads: two would each insert the same
    object. Errors of the database pass unchanged. Raises Unavailable when the SQLite file was
    moved or removed, because the commit may be lost then.
    """
    with engine.connect().execution_options(writes=True) as connection:
        with connection.begin():
            if connection.dialect.name == "postgresql":
                _wait_for_other_writers(connection.connection.driver_connection)
            yield connection
        _check_in_place(connection.info)


@contextmanager
def events_transaction(engine: Engine) -> Iterator[Transaction]:
    """Open a transaction as `write_transaction` does, for prepared statements alone.

    It is the driver's own: SQLAlchemy's work for a transaction costs as much as some statements.
    """
    base: Any = engine.dialect.loaded_dbapi.Error
    try:
        pooled = engine.raw_connection()
        driver: Any = pooled.driver_connection
        try:
            transaction = Transaction(driver, engine.dialect.name == "sqlite")
            if transaction.is_sqlite:
                driver.execute(_BEGIN_WRITING_SQLITE)
            else:
                _wait_for_other_writers(driver)
            yield transaction
            driver.commit()
            _check_in_place(pooled.info)
        except base as error:
            if engine.dialect.is_disconnect(error, driver, None):
                pooled.invalidate(error)
            raise
        finally:
            pooled.close()  # which rolls back what was not committed
    except base as error:
        raise DBAPIError.instance(None, None, error, base, hide_parameters=True) from error


def _check_in_place(info: Mapping[Any, Any]) -> None:
    open_file: OpenFile | None = info.get(_OPEN_FILE)
    if open_file is not None:
        open_file.check_in_place()


def _wait_for_other_writers(driver: Any) -> None:
    driver.execute(_BEGIN_WRITING, (str(_LOCK_TIMEOUT * 1000), _WRITERS_LOCK))


@contextmanager
def read_connection(engine: Engine, timeout: float, cancelled: Event) -> Iterator[Connection]:
    """Connect; statements end after `timeout` seconds; in SQLite on `cancelled` too."""
    with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SET LOCAL statement_timeout = {int(timeout * 1000)}"))
            yield connection
            return
        deadline = time.monotonic() + timeout
        driver: Any = connection.connection.driver_connection
        driver.set_progress_handler(
            lambda: cancelled.is_set() or time.monotonic() > deadline, _PROGRESS_STEPS
        )
        try:
            yield connection
        finally:
            driver.set_progress_handler(None, 0)


def missing_file(engine: Engine) -> Path | None:
    """Return the SQLite file that does not exist yet; None when it does, or is PostgreSQL's."""
    if engine.dialect.name != "sqlite":
        return None
    path = Path(_sqlite_path(engine.url))
    return None if path.exists() else path


def probe(engine: Engine) -> None:
    """Raise Unavailable when the database can't be reached or written; it may have no tables."""
    with database_errors(), engine.connect() as connection:
        sqlite = connection.dialect.name == "sqlite"
        connection.execute(text("SELECT count(*) FROM sqlite_master" if sqlite else "SELECT 1"))
        _check_writable(connection)


def check(engine: Engine) -> None:
    """Raise Unavailable when the database can't be read, or is read-only."""
    with database_errors(), engine.connect() as connection:
        connection.execute(text("SELECT 1 FROM objects WHERE id < 0"))
        _check_in_place(connection.info)
        _check_writable(connection)


def _check_writable(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        read_only = connection.execute(text("SHOW transaction_read_only")).scalar() == "on"
    else:
        read_only = not os.access(_sqlite_path(connection.engine.url), os.W_OK)
    if read_only:
        raise Unavailable(_KNOWN["readonly"])


@contextmanager
def database_errors() -> Iterator[None]:
    """Raise errors of the database as Unavailable with a sentence that repeats no value."""
    try:
        yield
    except NoConnectionInTime as error:
        raise Unavailable("The catalogue's database has no free connection.") from error
    except DBAPIError as error:
        raise Unavailable(_sentence(error)) from error
    except SQLAlchemyError as error:
        raise Unavailable("The catalogue's database failed.") from error
    except OSError as error:
        raise Unavailable(f"The database's file can't be used: {error.strerror}.") from error


_WRONG_OPTION = re.compile(
    r'(?:invalid |connection option "|configuration parameter "|for parameter "|definition of )'
    r'(\w+)(?: value: |" ?$|": | ".*" not found)'
)
"""Messages of libpq and PostgreSQL about an option of a connection; the group is its name."""
_KNOWN = {
    "locked": "The catalogue's database is locked.",
    "lock timeout": "The catalogue's database is locked.",
    "full": "The catalogue's database or its disk is full.",
    "no space left": "The catalogue's database or its disk is full.",
    "readonly": "The catalogue's database is read-only.",
    "read-only": "The catalogue's database is read-only.",
    "password": "The catalogue's database refused the credential.",
    "statement timeout": "The catalogue's database took too long.",
    "interrupted": "The catalogue's database took too long.",
    "starting up": "The catalogue's database is starting up.",
    "shutting down": "The catalogue's database is shutting down.",
    "too many": "The catalogue's database has too many clients.",
    "no such table": "The catalogue's database has no tables: it was never migrated.",
    "relation": "The catalogue's database has no tables: it was never migrated.",
    "not a database": "The catalogue's file is no database: move it away, then reindex.",
    "malformed": "The catalogue's file is damaged: move it away, then reindex.",
    "unable to open": "The catalogue's database file can't be opened.",
    "resolve host": "The catalogue's database server has an unknown name: correct DATABASE_URL.",
    "root certificate": "The file of DATABASE_URL's sslrootcert can't be read.",
    "does not support ssl": "The catalogue's database has no TLS, but DATABASE_URL requires it.",
    "certificate verify failed": "The certificate of the catalogue's database is not verified.",
    "pg_hba": "The catalogue's database refuses this user or host: allow it in pg_hba.conf.",
    "fatal:  database": "The database that DATABASE_URL names does not exist: create it.",
    "fatal:  role": "The catalogue's database refused the credential.",
    "connection": "The catalogue's database can't be reached.",
}


def _sentence(error: DBAPIError) -> str:
    """Return our sentence for a known error, else its type: its own text may name a patient."""
    lines = str(error.orig).lower().splitlines() or [""]
    if option := _WRONG_OPTION.search(lines[0]):
        return f"DATABASE_URL's {option[1]} has a value that PostgreSQL does not accept."
    for word, sentence in _KNOWN.items():
        if word in lines[0]:
            return sentence
    _LOG.error(
        "The database failed with an unknown error.",
        kind=type(error.orig).__name__,
        state=getattr(error.orig, "sqlstate", None) or getattr(error.orig, "sqlite_errorname", ""),
    )
    return f"The catalogue's database failed ({type(error.orig).__name__})."
