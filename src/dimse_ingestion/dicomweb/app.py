"""The DICOMweb server: start, backends, two ports, drain.

One port is for the services, the other for probes and metrics, which are not public. A drain first
reports not ready. Requests in progress then have the drain timeout to complete, since retrieving
or storing a study may take minutes.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette

from dimse_ingestion.audit.trail import AuditProcess, open_audit_trail
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
"""The services; each has its own paths."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A running server: the port of its services, and its health."""

    port: int
    health: probes.Health


async def run(settings: DicomwebSettings) -> int:
    """Run the service until a signal to stop; return the exit status.

    Raises ConfigurationMistake when it can't start.
    """
    return await run_service("dicomweb", settings, running(settings))


@asynccontextmanager
async def running(
    settings: DicomwebSettings, viewer_files: Path | None = None
) -> AsyncIterator[RunningServer]:
    """Serve within the block and drain at its end; `viewer_files` is the folder of a viewer.

    It starts even if bucket and catalogue are not available. Raises ConfigurationMistake when an
    address can't be listened on.
    """
    health = probes.Health("dicomweb")
    start_series("dicomweb")
    async with AsyncExitStack() as stack:
        backends = await stack.enter_async_context(open_backends(settings))
        _add_checks(health, backends)
        probe_app = Starlette(routes=probes.routes(health))
        host, port = settings.http_host, settings.http_port
        await stack.enter_async_context(serve(probe_app, host, port, setting="DIMSE_HTTP_PORT"))
        urls = ServiceUrls(
            settings.external_address, settings.trusted_proxies, settings.external_port
        )
        trail = await stack.enter_async_context(
            open_audit_trail(settings, AuditProcess("dicomweb"))
        )
        context = ServiceContext(settings, backends, urls, stack, viewer_files, trail)
        services = application(context, SERVICES)
        host, port = settings.dicomweb_host, settings.dicomweb_port
        port = await stack.enter_async_context(
            serve(services, host, port, settings.drain_timeout, setting="DICOMWEB_HTTP_PORT")
        )
        _LOG.info("Serving.", port=port)
        try:
            yield RunningServer(port, health)
        finally:
            health.drain()


def _add_checks(health: probes.Health, backends: Backends) -> None:
    health_check = BackendHealthCheck(
        lambda: backends.bucket.check(write=True), backends.sink.check, backends.queries.check
    )

    async def bucket() -> str:
        return (await health_check.health()).bucket

    async def event_sink() -> str:
        return (await health_check.health()).event_sink

    async def catalogue() -> str:
        return (await health_check.health()).catalogue

    health.add("bucket", bucket)
    health.add("event sink", event_sink)
    health.add("catalogue", catalogue)
