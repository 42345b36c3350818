"""The ingestion service from its start to its last session, joined to its real wires.

Order matters at both ends: probes answer first and last; a drain stops new requests, lets sessions
finish, and closes the connection to NATS only then, so that a rolling update fails no operation.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette

from dimse_ingestion.ingestion.dispatch import Dispatch
from dimse_ingestion.ingestion.wires import Wires, opened_wires
from dimse_ingestion.observability import logging, probes, tracing
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.observability.serving import served
from dimse_ingestion.observability.stopping import stop_signal
from dimse_ingestion.operations.describing import StorageSpace
from dimse_ingestion.operations.echoing import Echoing
from dimse_ingestion.operations.finding import Finding
from dimse_ingestion.operations.storing import Storing
from dimse_ingestion.settings import ConfigurationMistake, IngestionSettings
from dimse_ingestion.transport.configured import link_settings
from dimse_ingestion.transport.link import Link
from dimse_ingestion.transport.responder import Responder
from dimse_ingestion.transport.subjects import Subjects, ingestion_permissions

_LOG = logger(__name__)


async def run(settings: IngestionSettings) -> int:
    """Serve until told to stop; the exit status."""
    logging.configure("ingestion", settings.log_level)
    tracing.configure("ingestion", settings.otlp_endpoint)
    with stop_signal() as told:
        async with opened(settings):
            await told.wait()
    tracing.shut_down()
    return 0


@asynccontextmanager
async def opened(settings: IngestionSettings) -> AsyncIterator[probes.Health]:
    """The ingestion service, serving within the block and drained at its end.

    Raises ConfigurationMistake when the HTTP address can't be used.
    """
    health = probes.Health()
    async with opened_wires(settings) as wires, _probes(settings, health):
        link = Link(
            link_settings(
                settings,
                f"ingestion {settings.replica_id}",
                ingestion_permissions(settings.nats_subject_root),
            )
        )
        responder = _responder(settings, link, wires, health)
        try:
            await link.start()
            await responder.start()
            _LOG.info("Serving.", replica=settings.replica_id, root=settings.nats_subject_root)
            yield health
        finally:
            health.drain()
            await responder.drain(settings.drain_timeout)
            await link.close()


@asynccontextmanager
async def _probes(settings: IngestionSettings, health: probes.Health) -> AsyncIterator[int]:
    app = Starlette(routes=probes.routes(health))
    try:
        async with served(app, settings.http_host, settings.http_port) as port:
            yield port
    except OSError as trouble:
        address = f"{settings.http_host}:{settings.http_port}"
        raise ConfigurationMistake(
            [f"DIMSE_HTTP_PORT: {address} can't be used: {trouble.strerror}."]
        ) from None


def _responder(
    settings: IngestionSettings, link: Link, wires: Wires, health: probes.Health
) -> Responder:
    space = StorageSpace(
        provider=settings.provider_name,
        event_source=settings.event_source,
        wado_internal_endpoint=settings.wado_internal_endpoint,
        wado_external_endpoint=settings.wado_external_endpoint,
    )
    echoing = Echoing(lambda: wires.bucket.check(write=True), wires.sink.check, wires.queries.check)
    _add_checks(health, link, echoing)
    dispatch = Dispatch(
        settings.replica_id,
        Storing(wires.bucket, wires.sink, space),
        Finding(wires.queries, settings.maximum_matches),
        echoing,
    )
    return Responder(link, Subjects(settings.nats_subject_root), settings.replica_id, dispatch)


def _add_checks(health: probes.Health, link: Link, echoing: Echoing) -> None:
    async def bucket() -> str:
        return (await echoing.wellness()).bucket

    async def event_sink() -> str:
        return (await echoing.wellness()).event_sink

    async def catalogue() -> str:
        return (await echoing.wellness()).catalogue

    health.add("nats", lambda: link.trouble)
    health.add("bucket", bucket)
    health.add("event sink", event_sink)
    health.add("catalogue", catalogue)
