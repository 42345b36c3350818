"""The proxy's start and drain, independent of its real connections (see `app`).

The order matters: probes start first and stop last, so that they answer while a large spool is
read; a drain rejects new associations while open ones finish, so that no image being sent is lost.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from starlette.applications import Starlette

from dimse_ingestion.observability import probes
from dimse_ingestion.observability.http_server import serve
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.observability.series import start_series
from dimse_ingestion.proxy.audit import AssociationAudit
from dimse_ingestion.proxy.open_spaces import Connect, OpenSpaces
from dimse_ingestion.proxy.space import Space
from dimse_ingestion.proxy.space_router import SpaceRouter
from dimse_ingestion.proxy.upstream_probe import UpstreamProbe
from dimse_ingestion.settings import ProxySettings
from dimse_ingestion.settings.errors import address_mistake
from dimse_ingestion.upper_layer.services import Services
from dimse_ingestion.workers.counts import Kind
from dimse_ingestion.workers.worker import Worker

_LOG = logger(__name__)
_Opened = TypeVar("_Opened")


class Listener(Protocol):
    """The listener for associations (see `upper_layer.acceptor`)."""

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen, and return the address. Raises OSError."""

    def adopt(self, plain: socket.socket, closed: Callable[[], None]) -> None:
        """Serve a connection that another process accepted; call `closed` when it is closed."""

    def replace_tls(self, tls: ssl.SSLContext | None) -> None:
        """Use another TLS context, or none, for new connections."""

    async def stop(self, drain: float) -> None:
        """Stop listening; let associations finish for `drain` seconds, then abort them."""


@dataclass(frozen=True, slots=True)
class ProxyDependencies:
    """The parts that connect the proxy to the upper layer and the transport."""

    listener: Callable[[Services], Listener]
    connect: Connect
    """Opens the connection of the storage space that has these settings."""
    audit: AssociationAudit | None = None


@dataclass(frozen=True, slots=True)
class RunningProxy:
    """A proxy that is listening, with its addresses and health."""

    spaces: tuple[Space, ...]
    address: tuple[str, int]
    http_port: int
    health: probes.Health
    listener: Listener
    change: Callable[[ProxySettings], Awaitable[None]]
    """Uses the storage spaces and allow-lists of other settings. Raises ConfigurationMistake."""

    @property
    def ae_title(self) -> str:
        """The AE title of the first storage space."""
        return self.spaces[0].settings.ae_title

    @property
    def path(self) -> UpstreamProbe:
        """The path of the first storage space to its bucket and catalogue."""
        return self.spaces[0].path


@asynccontextmanager
async def open_proxy(
    settings: ProxySettings, dependencies: ProxyDependencies, worker: Worker | None = None
) -> AsyncIterator[RunningProxy]:
    """Run a proxy that listens within the block and is drained at the end.

    A worker of several gets its connections from their supervisor, which serves the probes. Raises
    ConfigurationMistake when an address or the spool can't be used.
    """
    health = probes.Health("proxy")
    titles = [each.ae_title for each in settings.storage_spaces]
    start_series("proxy", titles)
    router = SpaceRouter(dependencies.audit)
    http = f"{settings.http_host}:{settings.http_port}"
    dimse = f"{settings.host}:{settings.port}"
    open_spaces = OpenSpaces(settings, dependencies.connect, health, router, worker)
    listener = dependencies.listener(router)
    listening = asyncio.Event()
    health.add("start", lambda: "" if listening.is_set() else "The proxy is starting.")
    async with (
        _address_errors(_probes(settings, health, worker), "DIMSE_HTTP_PORT", http) as http_port,
        open_spaces.opened() as spaces,
        probes.watch_readiness(health),
        _address_errors(_listening(settings, listener, worker), "DIMSE_PORT", dimse) as address,
    ):
        listening.set()
        _LOG.info("Listening for associations.", ae_titles=titles, address=address)
        try:
            yield RunningProxy(spaces, address, http_port, health, listener, open_spaces.change)
        finally:
            health.drain()
            router.drain()
            _LOG.info("Draining.", open_associations=router.open_associations)


def _probes(
    settings: ProxySettings, health: probes.Health, worker: Worker | None
) -> AbstractAsyncContextManager[int]:
    if worker is not None:
        return worker.answer_probes(health)
    app = Starlette(routes=probes.routes(health))
    return serve(app, settings.http_host, settings.http_port)


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
