"""The real wires of the ingestion service, made from its settings; opened here, used elsewhere."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from dimse_ingestion.events.contract import EventSink
from dimse_ingestion.events.http_sink import HttpSink
from dimse_ingestion.queries.contract import QueryClient
from dimse_ingestion.queries.http_client import HttpQueryClient
from dimse_ingestion.settings import IngestionSettings
from dimse_ingestion.storage.contract import Bucket
from dimse_ingestion.storage.following import FollowingBucket


@dataclass(frozen=True, slots=True)
class Wires:
    """What stands behind the ingestion service."""

    bucket: Bucket
    sink: EventSink
    queries: QueryClient


@asynccontextmanager
async def opened_wires(settings: IngestionSettings) -> AsyncIterator[Wires]:
    """Bucket, event sink and catalogue; nothing is reached for yet."""
    bucket = FollowingBucket(settings.read_bucket, timeout=settings.bucket_timeout)
    sink = HttpSink(settings.event_sink, timeout=settings.event_timeout)
    queries = HttpQueryClient(
        settings.query_endpoint, settings.provider_name, timeout=settings.query_timeout
    )
    try:
        yield Wires(bucket, sink, queries)
    finally:
        await sink.close()
        await queries.close()
