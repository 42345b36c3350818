"""The proxy's start and drain, independent of its real connections (see `app`).

The order matters: probes start first and stop last; a drain rejects new associations while open
ones finish, so that no image being sent is lost.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from starlette.applications import Starlette

from dimse_ingestion.observability import probes
from dimse_ingestion.observability.http_server import serve
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.observability.series import start_series
from dimse_ingestion.proxy.acceptance import Admission
from dimse_ingestion.proxy.bridge import Bridge
from dimse_ingestion.proxy.commitment.reports import ReportSender
from dimse_ingestion.proxy.commitment.service import NoReports, open_commitment
from dimse_ingestion.proxy.last_success import LastSuccess
from dimse_ingestion.proxy.upstream_probe import UpstreamProbe
from dimse_ingestion.settings import ProxySettings
from dimse_ingestion.settings.errors import address_mistake, directory_mistake
from dimse_ingestion.spooling.spool import Limits, Spool
from dimse_ingestion.transport.contract import TransportClient
from dimse_ingestion.upper_layer.services import Services
from dimse_ingestion.workers.counts import Count, Kind, LocalCount
from dimse_ingestion.workers.worker import Worker

_LOG = logger(__name__)
_Opened = TypeVar("_Opened")


class Listener(Protocol):
    """The listener for associations (see `upper_layer.acceptor`)."""

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen, and return the address. Raises OSError."""

    def adopt(self, plain: socket.socket, closed: Callable[[], None]) -> None:
        """Serve a connection that another process accepted; call `closed` when it is closed."""

    async def stop(self, drain: float) -> None:
        """Stop listening; let associations finish for `drain` seconds, then abort them."""


@dataclass(frozen=True, slots=True)
class ProxyDependencies:
    """The parts that connect the proxy to the upper layer and the transport."""

    requester: TransportClient
    listener: Callable[[Services], Listener]
    transport_problem: Callable[[], str]
    reports: ReportSender = field(default_factory=NoReports)


@dataclass(frozen=True, slots=True)
class RunningProxy:
    """A proxy that is listening, with its addresses and health."""

    ae_title: str
    address: tuple[str, int]
    http_port: int
    health: probes.Health
    path: UpstreamProbe


@asynccontextmanager
async def open_proxy(
    settings: ProxySettings, dependencies: ProxyDependencies, worker: Worker | None = None
) -> AsyncIterator[RunningProxy]:
    """Run a proxy that listens within the block and is drained at the end.

    A worker of several gets its connections from their supervisor, which serves the probes. Raises
    ConfigurationMistake when an address or the spool can't be used.
    """
    health = probes.Health("proxy")
    start_series("proxy")
    async with AsyncExitStack() as stack:
        spool = stack.enter_context(_spool(settings, worker))
        commitment = await stack.enter_async_context(
            open_commitment(
                settings,
                dependencies.requester,
                dependencies.reports,
                worker_number=worker.number if worker else 1,
            )
        )
        count = _count(worker, Kind.ASSOCIATIONS)
        admission = Admission(settings, lambda: spool.problem, count)
        bridge = Bridge(settings, admission, spool, dependencies.requester, commitment)
        path = UpstreamProbe(
            dependencies.requester, settings.ae_title, dependencies.transport_problem
        )
        bridge.request_probe = path.request_probe
        bridge.record_success = LastSuccess(settings.modalities).record
        listener = dependencies.listener(bridge)
        _add_checks(health, dependencies, spool, path)
        http = f"{settings.http_host}:{settings.http_port}"
        dimse = f"{settings.host}:{settings.port}"
        async with (
            _address_errors(
                _probes(settings, health, worker), "DIMSE_HTTP_PORT", http
            ) as http_port,
            _probing(path),
            probes.watch_readiness(health),
            _address_errors(_listening(settings, listener, worker), "DIMSE_PORT", dimse) as address,
        ):
            _LOG.info("Listening for associations.", ae_title=settings.ae_title, address=address)
            try:
                yield RunningProxy(settings.ae_title, address, http_port, health, path)
            finally:
                health.drain()
                admission.draining = True
                _LOG.info("Draining.", open_associations=admission.open_associations)


def _count(worker: Worker | None, kind: Kind) -> Count:
    return worker.count(kind) if worker else LocalCount()


def _probes(
    settings: ProxySettings, health: probes.Health, worker: Worker | None
) -> AbstractAsyncContextManager[int]:
    if worker is not None:
        return worker.answer_probes(health)
    app = Starlette(routes=probes.routes(health))
    return serve(app, settings.http_host, settings.http_port)


@contextmanager
def _spool(settings: ProxySettings, worker: Worker | None) -> Iterator[Spool]:
    limits = Limits(
        memory=settings.spool_memory,
        memory_in_all=settings.spool_memory_in_all,
        disk=settings.spool_limit,
        high_water=settings.spool_high_water,
    )
    spool = Spool(
        settings.spool_directory,
        limits,
        _count(worker, Kind.SPOOL_MEMORY),
        _count(worker, Kind.SPOOL_DISK),
    )
    try:
        spool.prepare()
    except OSError as error:
        directory = str(settings.spool_directory)
        raise directory_mistake("DIMSE_SPOOL_DIRECTORY", directory, error) from None
    try:
        yield spool
    finally:
        spool.close()


@asynccontextmanager
async def _address_errors(
    opening: AbstractAsyncContextManager[_Opened], variable: str, value: str
) -> AsyncIterator[_Opened]:
    """Enter `opening`; an OSError becomes the ConfigurationMistake of `variable`."""
    async with AsyncExitStack() as stack:
        try:
            open_proxy = await stack.enter_async_context(opening)
        except OSError as error:
            raise address_mistake(variable, value, error) from None
        yield open_proxy


@asynccontextmanager
async def _listening(
    settings: ProxySettings, listener: Listener, worker: Worker | None
) -> AsyncIterator[tuple[str, int]]:
    if worker is None:
        address = await listener.start(settings.host, settings.port)
    else:
        address = settings.host, settings.port
        _adopt_connections(listener, worker)
    try:
        yield address
    finally:
        await listener.stop(settings.drain_timeout)


def _adopt_connections(listener: Listener, worker: Worker) -> None:
    closed = worker.count(Kind.CLOSED_CONNECTIONS)
    worker.take_connections(lambda plain: listener.adopt(plain, lambda: closed.add(1)))


@asynccontextmanager
async def _probing(path: UpstreamProbe) -> AsyncIterator[None]:
    watching = asyncio.create_task(path.watch(), name="upstream probe")
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def _add_checks(
    health: probes.Health, dependencies: ProxyDependencies, spool: Spool, path: UpstreamProbe
) -> None:
    health.add("nats", dependencies.transport_problem)
    health.add("spool", lambda: spool.problem)
    health.add("path", lambda: "" if dependencies.transport_problem() else path.problem)
