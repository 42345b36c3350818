"""The DICOMweb door from its start to its last request, joined to its real wires.

Two ports: the services at one, probes and metrics at the other, which is not for the world. A
drain says not ready first; requests under way then have the time that is set for it, since a study
that is read or stored may take minutes.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette

from dimse_ingestion.dicomweb import page, viewer
from dimse_ingestion.dicomweb.http.urls import ServiceUrls
from dimse_ingestion.dicomweb.retrieve import metadata, wado_rs
from dimse_ingestion.dicomweb.routing import Service, ServiceContext, application
from dimse_ingestion.dicomweb.search import qido
from dimse_ingestion.dicomweb.store import stow
from dimse_ingestion.observability import probes
from dimse_ingestion.observability.http_server import serve
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.observability.process import run_service
from dimse_ingestion.observability.series import start_series
from dimse_ingestion.operations.composition import Backends, open_backends
from dimse_ingestion.operations.echo import BackendHealthCheck
from dimse_ingestion.settings import DicomwebSettings

_LOG = logger(__name__)
SERVICES: tuple[Service, ...] = (
    stow.routes,
    qido.routes,
    metadata.routes,
    wado_rs.routes,
    page.routes,
    viewer.routes,
)
"""Each answers at its own addresses."""


@dataclass(frozen=True, slots=True)
class OpenDoor:
    """The door, open: the port of its services, and how it is."""

    port: int
    health: probes.Health


async def run(settings: DicomwebSettings) -> int:
    """Run the service until a signal to stop; return the exit status.

    Raises ConfigurationMistake when it can't start.
    """
    return await run_service("dicomweb", settings, opened(settings))


@asynccontextmanager
async def opened(
    settings: DicomwebSettings, viewer_files: Path | None = None
) -> AsyncIterator[OpenDoor]:
    """The door, serving within the block and drained at its end; a viewer too, of these files.

    It begins whether bucket and catalogue are there or not. Raises ConfigurationMistake when an
    address can't be used.
    """
    health = probes.Health("dicomweb")
    start_series("dicomweb")
    async with AsyncExitStack() as stack:
        backends = await stack.enter_async_context(open_backends(settings))
        _add_checks(health, backends)
        probed = Starlette(routes=probes.routes(health))
        host, port = settings.http_host, settings.http_port
        await stack.enter_async_context(serve(probed, host, port, setting="DIMSE_HTTP_PORT"))
        addresses = ServiceUrls(
            settings.external_address, settings.trusted_proxies, settings.external_port
        )
        door = ServiceContext(settings, backends, addresses, stack, viewer_files)
        services = application(door, SERVICES)
        host, port = settings.dicomweb_host, settings.dicomweb_port
        port = await stack.enter_async_context(
            serve(services, host, port, settings.drain_timeout, setting="DICOMWEB_HTTP_PORT")
        )
        _LOG.info("Serving.", port=port)
        try:
            yield OpenDoor(port, health)
        finally:
            health.drain()


def _add_checks(health: probes.Health, backends: Backends) -> None:
    echoing = BackendHealthCheck(
        lambda: backends.bucket.check(write=True), backends.sink.check, backends.queries.check
    )

    async def bucket() -> str:
        return (await echoing.health()).bucket

    async def event_sink() -> str:
        return (await echoing.health()).event_sink

    async def catalogue() -> str:
        return (await echoing.health()).catalogue

    health.add("bucket", bucket)
    health.add("event sink", event_sink)
    health.add("catalogue", catalogue)
