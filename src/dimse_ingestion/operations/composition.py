"""Clients of a storage space's bucket, event sink and catalogue, made from a service's settings.

This module opens and closes them; `store`, `find` and `retrieve` use them.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from dimse_ingestion.events.contract import EventSink
from dimse_ingestion.events.http_sink import HttpSink
from dimse_ingestion.operations.event_builder import StorageSpace
from dimse_ingestion.queries.contract import QueryClient
from dimse_ingestion.queries.http_client import HttpQueryClient
from dimse_ingestion.settings import StorageSpaceSettings
from dimse_ingestion.storage.contract import Bucket
from dimse_ingestion.storage.memory_budget import MemoryBudget
from dimse_ingestion.storage.rotating import RotatingBucket

_MATCHES_MEMORY = 160 * 2**20  # bytes of the long matches that are read and sent at once


@dataclass(frozen=True, slots=True)
class Backends:
    """The clients that a service stores to and queries with."""

    bucket: Bucket
    sink: EventSink
    queries: QueryClient


@asynccontextmanager
async def open_backends(settings: StorageSpaceSettings) -> AsyncIterator[Backends]:
    """Open bucket, event sink and query client; none of them connects yet."""
    bucket = RotatingBucket(settings.read_bucket, timeout=settings.bucket_timeout)
    sink = HttpSink(settings.event_sink, settings.event_sink_access, timeout=settings.event_timeout)
    queries = HttpQueryClient(
        settings.query_endpoint,
        settings.provider_name,
        settings.catalogue_access,
        timeout=settings.query_timeout,
        memory=MemoryBudget(_MATCHES_MEMORY),
    )
    try:
        yield Backends(bucket, sink, queries)
    finally:
        await sink.close()
        await queries.close()


def storage_space(settings: StorageSpaceSettings) -> StorageSpace:
    """Return the attributes that every event of this service has."""
    return StorageSpace(
        provider=settings.provider_name,
        event_source=settings.event_source,
        wado_internal_endpoint=settings.wado_internal_endpoint,
        wado_external_endpoint=settings.wado_external_endpoint,
    )
