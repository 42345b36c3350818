"""A bystander of attacks on a catalogue, bounded by the catalogue's CPU time."""

import asyncio
from collections.abc import Awaitable
from contextlib import aclosing
from typing import TypeVar

import httpx2
import psutil

from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.queries.contract import Query
from dimse_ingestion.queries.http_client import HttpQueryClient
from harness.services import ServiceProcess
from tests.instances import PROVIDER, query

MOST_CPU = 2.0  # seconds; the inputs of attacks have cost from ten to hundreds
T = TypeVar("T")


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
