"""Every event answered with 2xx is recorded after the catalogue was killed."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from dimse_ingestion.catalogue.database import open_engine
from dimse_ingestion.events.cloudevents import CONTENT_TYPE, encode
from dimse_ingestion.events.http_sink import HttpSink
from dimse_ingestion.failures import Unavailable
from dimse_ingestion.queries import wire
from harness.ports import free_port
from harness.services import ServiceProcess
from tests.catalogue_queries import find_all
from tests.instances import PROVIDER, event, query, read

POSTERS = 8
BEFORE_THE_KILL = 100
COUNT = """
import os, sqlite3
connection = sqlite3.connect(os.environ["FILE"])
connection.execute("SELECT count(*) FROM objects").fetchone()
connection.close()
"""
BACK_UP = """
import os, sqlite3
connection = sqlite3.connect(os.environ["FILE"])
connection.backup(sqlite3.connect(os.environ["FILE"] + ".backup"))
connection.close()
"""
COPY = """
import os, shutil
shutil.copy(os.environ["FILE"], os.environ["FILE"] + ".copy")
"""
OPENING_THE_FILE = {
    "sqlite3": ["-c", COUNT],
    "backup": ["-c", BACK_UP],
    "copy": ["-c", COPY],
    "check": ["-m", "dimse_ingestion", "check", "catalogue"],
    "migrate": ["-m", "dimse_ingestion", "catalogue", "--migrate-only"],
}
"""What an administrator may do beside a catalogue that runs, as arguments of Python."""


async def post_until_it_breaks(
    client: httpx2.AsyncClient, poster: int, accepted: set[str], enough: asyncio.Event
) -> None:
    for number in range(10_000):
        uid = f"3.{poster}.{number}"
        body = encode(event(f"o{uid}", instance=uid, study=f"1.{number % 5}", PatientID="1"))
        try:
            answer = await client.post(
                "/events", content=body, headers={"content-type": CONTENT_TYPE}
            )
        except httpx2.TransportError:
            return
        assert answer.status_code == 202, answer.text
        accepted.add(uid)
        if len(accepted) >= BEFORE_THE_KILL:
            enough.set()


async def load_and_kill(service: ServiceProcess) -> set[str]:
    accepted: set[str] = set()
    enough = asyncio.Event()
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{service.http_port}") as client:
        posting = [
            asyncio.create_task(post_until_it_breaks(client, poster, accepted, enough))
            for poster in range(POSTERS)
        ]
        async with asyncio.timeout(60):
            await enough.wait()
            await asyncio.to_thread(service.kill)
            await asyncio.gather(*posting)
    return accepted


async def post(client: httpx2.AsyncClient, names: list[str]) -> None:
    for name in names:
        body = encode(event(name, instance=f"3.{name}"))
        answer = await client.post("/events", content=body, headers={"content-type": CONTENT_TYPE})
        assert answer.status_code == 202, answer.text


async def ask_at_once(client: httpx2.AsyncClient) -> None:
    """Send concurrent queries, so that the catalogue opens several connections."""
    path = f"{wire.PATHS['IMAGE']}?{wire.SOURCE}={PROVIDER}"
    body = wire.encode_query(query("IMAGE"))
    answers = await asyncio.gather(*(client.post(path, content=body) for _ in range(16)))
    assert [each.status_code for each in answers] == [200] * 16


def open_in_another_process(how: str, file: Path, service: ServiceProcess) -> None:
    environment = dict(os.environ) | dict(service.environment)
    command = [sys.executable, *OPENING_THE_FILE[how]]
    subprocess.run(command, env=environment | {"FILE": str(file)}, check=True)


@pytest.fixture
def sqlite_catalogue(tmp_path: Path) -> Iterator[ServiceProcess]:
    port = free_port()
    environment = {
        "DATABASE_URL": f"sqlite:///{tmp_path}/catalogue.db",
        "DIMSE_HTTP_HOST": "127.0.0.1",
        "DIMSE_HTTP_PORT": str(port),
    }
    service = ServiceProcess(["catalogue"], environment, tmp_path / "log", port)
    yield service.start().ready()
    service.kill()


@pytest.mark.parametrize("how", OPENING_THE_FILE)
async def post_around(how: str, file: Path, service: ServiceProcess) -> None:
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{service.http_port}") as client:
        await post(client, ["1"])
        await ask_at_once(client)
        await asyncio.to_thread(open_in_another_process, how, file, service)
        await post(client, ["2", "3", "4"])


@pytest.mark.parametrize("how", OPENING_THE_FILE)
def test_accepted_events_outlive_a_kill_after_another_process_opened_the_file(
    sqlite_catalogue: ServiceProcess, tmp_path: Path, how: str
) -> None:
    file = tmp_path / "catalogue.db"
    asyncio.run(post_around(how, file, sqlite_catalogue))
    sqlite_catalogue.kill()
    assert instances_in(f"sqlite:///{file}") == {"3.1", "3.2", "3.3", "3.4"}


def instances_in(database_url: str) -> set[str | None]:
    engine = open_engine(database_url)
    found = {read(each, "SOPInstanceUID") for each in find_all(engine, query("IMAGE"))}
    engine.dispose()
    return found


def test_every_accepted_event_outlives_a_kill(database_url: str, tmp_path: Path) -> None:
    port = free_port()
    environment = {
        "DATABASE_URL": database_url,
        "DIMSE_HTTP_HOST": "127.0.0.1",
        "DIMSE_HTTP_PORT": str(port),
    }
    service = ServiceProcess(["catalogue"], environment, tmp_path / "log", port)
    try:
        accepted = asyncio.run(load_and_kill(service.start().ready()))
        assert len(accepted) >= BEFORE_THE_KILL
        service.start().ready()
        service.stop()
    finally:
        service.kill()
    found = instances_in(database_url)
    assert accepted - found == set()
    assert len(found) <= len(accepted) + POSTERS


async def send_until_it_breaks(sink: HttpSink, sender: int, accepted: set[str]) -> None:
    for number in range(10_000):
        uid = f"4.{sender}.{number}"
        try:
            await sink.accept(event(f"o{uid}", instance=uid, study=f"1.{number % 5}"))
        except Unavailable:  # what fails for now
            return
        accepted.add(uid)


async def send_batches_and_kill(service: ServiceProcess) -> set[str]:
    """Send events in batches and kill the catalogue; return the instances that were accepted."""
    accepted: set[str] = set()
    sink = HttpSink(f"http://127.0.0.1:{service.http_port}/events")
    await sink.check()
    sending = [
        asyncio.create_task(send_until_it_breaks(sink, sender, accepted)) for sender in range(32)
    ]
    async with asyncio.timeout(60):
        while len(accepted) < BEFORE_THE_KILL * 5:
            await asyncio.wait(sending, timeout=0.01)
        await asyncio.to_thread(service.kill)
        await asyncio.gather(*sending)
    await sink.close()
    return accepted


def test_every_accepted_event_of_a_batch_outlives_a_kill(database_url: str, tmp_path: Path) -> None:
    port = free_port()
    environment = {
        "DATABASE_URL": database_url,
        "DIMSE_HTTP_HOST": "127.0.0.1",
        "DIMSE_HTTP_PORT": str(port),
    }
    service = ServiceProcess(["catalogue"], environment, tmp_path / "log", port)
    try:
        accepted = asyncio.run(send_batches_and_kill(service.start().ready()))
        service.start().ready()
        service.stop()
    finally:
        service.kill()
    found = instances_in(database_url)
    assert accepted - found == set()
    assert len(found) <= len(accepted) + 32
