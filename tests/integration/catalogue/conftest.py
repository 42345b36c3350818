"""Every claim about the catalogue's database is made of SQLite and of PostgreSQL."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import Engine

from dimse_ingestion.catalogue.database import open_engine
from dimse_ingestion.catalogue.migrate import upgrade
from harness.postgresql import PostgreSQL, postgresql, why_not
from tests.log_lines import lines

__all__ = ["lines"]

_NUMBERS = count()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    if absent := why_not():
        pytest.skip(absent)
    with postgresql(tmp_path_factory.mktemp("postgresql")) as started:
        yield started


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/catalogue.db"
    running: PostgreSQL = request.getfixturevalue("server")
    return running.make_database(f"catalogue{next(_NUMBERS)}")


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    opened = open_engine(database_url)
    upgrade(opened)
    yield opened
    opened.dispose()
