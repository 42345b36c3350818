"""A catalogue to attack, and a bystander bounded by the catalogue's CPU time."""

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import TypeVar

import httpx2
import psutil

from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.queries.contract import Query
from dimse_ingestion.queries.http_client import HttpQueryClient
from harness.ports import free_port
from harness.services import ServiceProcess
from tests.instances import PROVIDER, query

MOST_CPU = 2.0  # seconds; the inputs of attacks have cost from ten to hundreds
T = TypeVar("T")


@contextmanager
def running_catalogue(folder: Path) -> Iterator[ServiceProcess]:
    """Run a catalogue on SQLite until the end of the block; `folder` is its own."""
    port = free_port()
    environment = {
        "DATABASE_URL": f"sqlite:///{folder}/catalogue.db",
        "DIMSE_HTTP_HOST": "127.0.0.1",
        "DIMSE_HTTP_PORT": str(port),
    }
    service = ServiceProcess(["catalogue"], environment, folder / "log", port)
    yield service.start().ready()
    service.kill()


async def beside(catalogue: ServiceProcess, client: httpx2.AsyncClient, attack: Awaitable[T]) -> T:
    """Attack while another client sends small queries, each of which is answered in time.

    The time is the catalogue's CPU time: how much of it passes in a second depends on what else the
    machine does.
    """
    under_way = asyncio.ensure_future(attack)
    while not under_way.done():
        before = cpu_seconds(catalogue)
        assert (await client.get("/livez")).status_code == 200
        assert await matches(client, query("STUDY", StudyInstanceUID="1.2.1"))
        assert cpu_seconds(catalogue) - before < MOST_CPU
    return await under_way


def cpu_seconds(catalogue: ServiceProcess) -> float:
    used = psutil.Process(catalogue.pid).cpu_times()
    return used.user + used.system


async def matches(client: httpx2.AsyncClient, query_sent: Query) -> list[list[Element]]:
    queries = HttpQueryClient(str(client.base_url), PROVIDER, timeout=60)
    async with aclosing(queries.matches(query_sent)) as found:
        collected = [each async for each in found]
    await queries.close()
    return collected
