"""The catalogue's database asked without its door, for tests."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine

from dimse_ingestion.catalogue.query import pages
from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.queries.contract import Query
from tests.instances import PROVIDER


def ask(engine: Engine, query: Query, source: str = PROVIDER) -> list[list[Element]]:
    """All matches."""

    async def asked() -> list[list[Element]]:
        with ThreadPoolExecutor(1) as executor:
            found = pages(engine, query, source, executor, timeout=30.0)
            return [match async for page in found for match in page]

    return asyncio.run(asked())
