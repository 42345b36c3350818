"""Queries to the catalogue's database without its HTTP API, for tests."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine

from dimse_ingestion.catalogue.query import located_pages, pages
from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.queries.contract import Query
from dimse_ingestion.queries.wire import EncodedLocated
from tests.instances import PROVIDER


def find_all(engine: Engine, query: Query, source: str = PROVIDER) -> list[list[Element]]:
    """Return all matches of a query."""

    async def run() -> list[list[Element]]:
        with ThreadPoolExecutor(1) as executor:
            found = pages(engine, query, source, executor, timeout=30.0)
            return [match async for page in found for match in page]

    return asyncio.run(run())


def located_all(engine: Engine, query: Query, source: str = PROVIDER) -> list[EncodedLocated]:
    """Return all matching instances with their objects."""

    async def run() -> list[EncodedLocated]:
        with ThreadPoolExecutor(1) as executor:
            found = located_pages(engine, query, source, executor, timeout=30.0)
            return [match async for page in found for match in page]

    return asyncio.run(run())
