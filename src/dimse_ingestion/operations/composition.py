"""The real wires of a storage space, made from a door's settings; opened here, used elsewhere."""

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
from dimse_ingestion.storage.rotating import RotatingBucket


@dataclass(frozen=True, slots=True)
class Backends:
    """What stands behind a door that stores and finds."""

    bucket: Bucket
    sink: EventSink
    queries: QueryClient


@asynccontextmanager
async def open_backends(settings: StorageSpaceSettings) -> AsyncIterator[Backends]:
    """Bucket, event sink and catalogue; nothing is reached for yet."""
    bucket = RotatingBucket(settings.read_bucket, timeout=settings.bucket_timeout)
    sink = HttpSink(settings.event_sink, settings.event_sink_access, timeout=settings.event_timeout)
    queries = HttpQueryClient(
        settings.query_endpoint,
        settings.provider_name,
        settings.catalogue_access,
        timeout=settings.query_timeout,
    )
    try:
        yield Backends(bucket, sink, queries)
    finally:
        await sink.close()
        await queries.close()


def storage_space(settings: StorageSpaceSettings) -> StorageSpace:
    """What every event of this door says."""
    return StorageSpace(
        provider=settings.provider_name,
        event_source=settings.event_source,
        wado_internal_endpoint=settings.wado_internal_endpoint,
        wado_external_endpoint=settings.wado_external_endpoint,
    )
