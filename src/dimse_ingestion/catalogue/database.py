"""The database behind the catalogue: opened, brought to the current schema, its failures mapped.

SQLAlchemy's synchronous engine, used in threads: a batch of events is one hop, not one for each
statement. SQLite and PostgreSQL alike; which one is the URL's matter.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnectionInTime

from dimse_ingestion.dicom.failure import OutOfResources

_SYNCHRONOUS = {"sqlite+aiosqlite": "sqlite", "postgresql": "postgresql+psycopg"}
_ADVISORY_LOCK = 0x44494D53  # any number: that of those who change this schema
_BUSY_SECONDS = 10


def open_engine(url: str, connections: int = 10) -> Engine:
    """An engine; connects to nothing yet.

    Raises ValueError with a sentence, without the URL's password, when it is none.
    """
    try:
        parsed = make_url(url)
        parsed = parsed.set(drivername=_SYNCHRONOUS.get(parsed.drivername, parsed.drivername))
        return _engine(parsed, connections)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as wrong:
        raise ValueError(
            "DATABASE_URL is no database this catalogue knows: give "
            "postgresql+psycopg://user:password@host/name or sqlite:////path/catalogue.db."
        ) from wrong


def _engine(url: Any, connections: int) -> Engine:
    if url.drivername != "sqlite":
        return create_engine(url, pool_size=connections, pool_pre_ping=True, pool_timeout=10)
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS})
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _: Any) -> None:
    """WAL for readers beside the writer; FULL because a 2xx must outlive a power cut."""
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def upgrade(engine: Engine) -> None:
    """Bring the schema to what this release needs; several replicas may do so at once.

    Raises transient A700 when the database can't be reached or changed.
    """
    with failures_told(), engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        command.upgrade(_alembic(connection), "head")


def _alembic(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def check(engine: Engine) -> None:
    """Raise transient A700 when the database can't be asked."""
    with failures_told(), engine.connect() as connection:
        connection.execute(text("SELECT 1 FROM objects WHERE id < 0"))


@contextmanager
def failures_told() -> Iterator[None]:
    """Map the database's errors; what it says of values stays out."""
    try:
        yield
    except NoConnectionInTime as error:
        raise OutOfResources("The catalogue's database has no free connection.") from error
    except DBAPIError as error:
        raise OutOfResources(_sentence(error)) from error
    except SQLAlchemyError as error:
        raise OutOfResources("The catalogue's database failed.") from error


def _sentence(error: DBAPIError) -> str:
    first = str(error.orig).splitlines()[0] if str(error.orig) else ""
    known = {
        "locked": "The catalogue's database is locked.",
        "full": "The catalogue's database or its disk is full.",
        "readonly": "The catalogue's database is read-only.",
        "password": "The catalogue's database refused the credential.",
        "connection": "The catalogue's database can't be reached.",
        "no such table": "The catalogue's database has no tables: it was never migrated.",
    }
    lower = first.lower()
    return next((told for word, told in known.items() if word in lower), "The database failed.")
