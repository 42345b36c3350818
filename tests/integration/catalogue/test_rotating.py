"""The database's URL is mounted: it may be late, be wrong, and change while the catalogue runs."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import psycopg
import pytest
from sqlalchemy import text

from dimse_ingestion.catalogue import http_api
from dimse_ingestion.catalogue.app import running
from dimse_ingestion.catalogue.database import open_engine
from dimse_ingestion.catalogue.rotating import RotatingDatabase
from dimse_ingestion.events.cloudevents import CONTENT_TYPE, encode
from dimse_ingestion.settings import CatalogueSettings
from harness.postgresql import PostgreSQL
from harness.services import eventually
from tests.instances import event

HEADERS = {"content-type": CONTENT_TYPE}


@pytest.fixture(autouse=True)
def looked_at_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_api, "_REFRESH_INTERVAL", 0.05)
    monkeypatch.setattr(http_api, "_RETRY_INTERVAL", 0.05)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Return the folder of an optional volume whose Secret was not created."""
    folder = tmp_path / "secret"
    folder.mkdir()
    return folder


@asynccontextmanager
async def catalogue(secret: Path) -> AsyncIterator[httpx2.AsyncClient]:
    settings = CatalogueSettings.load(
        database_url=str(secret),
        database_secret_name="core-database",
        http_host="127.0.0.1",
        http_port=0,
    )
    async with (
        running(settings) as port,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        yield client


async def ready(
    client: httpx2.AsyncClient,
    wanted: int = 200,
    saying: str = "",
    meanwhile: Callable[[], object] = lambda: None,
) -> None:
    answer = None
    try:
        async with asyncio.timeout(20):
            while True:
                meanwhile()
                answer = await client.get("/readyz")
                if answer.status_code == wanted and saying in answer.text:
                    return
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"last answered {answer and answer.text}") from None


async def post_event(client: httpx2.AsyncClient, name: str) -> httpx2.Response:
    return await client.post("/events", content=encode(event(name)), headers=HEADERS)


async def test_a_secret_that_is_late_is_waited_for_and_named(secret: Path, tmp_path: Path) -> None:
    async with catalogue(secret) as client:
        missing = "Missing database Secret core-database: create it."
        await ready(client, 503, f"database: {missing}")
        assert (await client.get("/livez")).status_code == 200
        answer = await post_event(client, "a")
        assert (answer.status_code, answer.json()["title"]) == (503, missing)
        (secret / "password").write_text("hush")
        await ready(client, 503, "Missing key DATABASE_URL in database Secret core-database")
        (secret / "DATABASE_URL").write_text("mysql://user:hush@host/name")
        await ready(client, 503, "DATABASE_URL is no database this catalogue knows")
        (secret / "DATABASE_URL").write_text(f"sqlite:///{tmp_path}/catalogue.db\n")
        await ready(client)
        assert (await post_event(client, "a")).status_code == 202


async def test_another_database_is_migrated_before_it_is_used(secret: Path, tmp_path: Path) -> None:
    (secret / "DATABASE_URL").write_text(f"sqlite:///{tmp_path}/first.db")
    async with catalogue(secret) as client:
        await ready(client)
        assert (await post_event(client, "a")).status_code == 202
        (secret / "DATABASE_URL").write_text("postgresql://u:p@127.0.0.1:1/none")
        assert (await post_event(client, "b")).status_code == 202
        (secret / "DATABASE_URL").unlink()
        assert (await post_event(client, "c")).status_code == 202
        (secret / "DATABASE_URL").write_text(f"sqlite:///{tmp_path}/second.db")
        async with asyncio.timeout(20):
            while not (tmp_path / "second.db").exists() or _count(tmp_path / "second.db") == 0:
                assert (await post_event(client, "d")).status_code == 202
    assert (_count(tmp_path / "first.db"), _count(tmp_path / "second.db")) == (4, 1)


def _count(path: Path) -> int:
    engine = open_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        if not engine.dialect.has_table(connection, "objects"):
            return 0
        count: int = connection.execute(text("SELECT count(*) FROM objects")).scalar_one()
    engine.dispose()
    return count


async def test_a_rotated_password_is_taken_up_without_a_new_start(
    server: PostgreSQL, secret: Path
) -> None:
    administrator = server.make_database("rotated")
    _run(administrator, "CREATE ROLE rotating LOGIN PASSWORD 'first'")
    _run(administrator, "ALTER DATABASE rotated OWNER TO rotating")
    address = administrator.split("@")[1]
    _ask_for_a_password(server, administrator, f"postgresql://rotating:wrong@{address}")
    (secret / "DATABASE_URL").write_text(f"postgresql://rotating:first@{address}")
    async with catalogue(secret) as client:
        await ready(client)
        _run(administrator, "ALTER ROLE rotating PASSWORD 'second'")
        # again and again: a connection that is just being opened is not seen yet
        await ready(client, 503, "refused the credential", lambda: _run(administrator, _DISCONNECT))
        (secret / "DATABASE_URL").write_text(f"postgresql://rotating:second@{address}")
        await ready(client)
        assert (await post_event(client, "a")).status_code == 202


_DISCONNECT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'rotating'"


def _ask_for_a_password(server: PostgreSQL, administrator: str, wrong: str) -> None:
    """Make the server refuse `wrong`; repeated, because a server may miss a signal."""
    rules = server.data / "pg_hba.conf"
    rules.write_text(f"host rotated rotating 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
    eventually(lambda: _admits(administrator, wrong), lambda admitted: not admitted)


def _admits(administrator: str, url: str) -> bool:
    _run(administrator, "SELECT pg_reload_conf()")
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def _run(url: str, statement: str) -> None:
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def test_what_stays_wrong_is_logged_once(secret: Path, lines: io.StringIO) -> None:
    settings = CatalogueSettings.load(database_url=str(secret))
    following = RotatingDatabase(settings.read_database_url, 1)
    assert [following.refresh() for _ in range(3)] == [False] * 3
    assert lines.getvalue().count("Missing database Secret") == 1
