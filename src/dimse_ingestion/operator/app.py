"""The operator's door: joins the API server, kopf's watches, the workers and the probes."""

import asyncio
import logging as stdlib_logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import kopf
from kubernetes.aio.client import ApiClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from dimse_ingestion.observability import logging
from dimse_ingestion.observability.http_server import serve
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.observability.probes import Health, routes, watch_readiness
from dimse_ingestion.observability.shutdown import stop_signal
from dimse_ingestion.operator.api_errors import Refusal, Unreachable
from dimse_ingestion.operator.cluster import Cluster, cluster_of, connected
from dimse_ingestion.operator.handlers import Handlers, settings_of, tell
from dimse_ingestion.operator.leader_election import candidate
from dimse_ingestion.operator.reconcile import Reconciler
from dimse_ingestion.operator.render import chart_folder
from dimse_ingestion.operator.render_sandbox import ConfinedRenderer, confined
from dimse_ingestion.operator.values import merged
from dimse_ingestion.operator.watch_check import Hearing
from dimse_ingestion.operator.watch_health import Watchfulness
from dimse_ingestion.operator.workers import Workers
from dimse_ingestion.settings import OperatorSettings

_LOG = logger(__name__)


class Operator:
    """One replica of the operator."""

    def __init__(self, settings: OperatorSettings) -> None:
        self._settings = settings
        self._watchfulness: Watchfulness | None = None
        self._hearing = Hearing(settings.namespaces)
        self.health = Health("operator")
        self.health.add("watch", lambda: self.trouble)

    @property
    def trouble(self) -> str:
        """What only a new start helps against, in a sentence; empty when there is none."""
        if self._watchfulness is None:
            return ""
        return self._watchfulness.trouble or self._hearing.trouble

    @property
    def app(self) -> Starlette:
        """/livez, which fails when a watch is dead, /readyz and /metrics."""

        async def livez(_: Request) -> Response:
            trouble = self.trouble
            return PlainTextResponse(f"{trouble or 'alive'}\n", 503 if trouble else 200)

        others = [each for each in routes(self.health) if each.path != "/livez"]
        return Starlette(routes=[Route("/livez", livez), *others])

    async def run(self, client: ApiClient, told: asyncio.Event) -> int:
        """Wait until this replica may work, then work until told to stop; the exit status.

        1 when the Lease was lost: another may work, so this one has to begin anew.
        """
        async with candidate(client, self._settings) as leadership:
            await _first(told, leadership.begun, leadership.ended)
            if leadership.begun.is_set() and not told.is_set():
                async with cluster_of(client) as cluster, self._renderer() as renderer:
                    await self._work(cluster, renderer, leadership.ended)
            return 1 if leadership.ended.is_set() else 0

    async def _work(
        self, cluster: Cluster, renderer: ConfinedRenderer, lost: asyncio.Event
    ) -> None:
        """Watch and look until the Lease is lost or a signal comes, which is kopf's to take."""
        stop = asyncio.Event()
        reconciler = Reconciler(cluster, renderer, self._defaults, tell, self._hearing)
        workers = Workers(reconciler.look, self._settings.resync)
        namespaces = self._settings.namespaces
        watchfulness = Watchfulness(cluster, reconciler.known, namespaces, workers.wake)
        self._watchfulness = watchfulness
        beside = [
            asyncio.create_task(watchfulness.run(), name="comparing"),
            asyncio.create_task(_passed_on(lost, stop), name="stop without a Lease"),
        ]
        try:
            await kopf.operator(
                registry=Handlers(reconciler, workers, stop).registry(),
                settings=settings_of(self._settings),
                # else asked of the system's users, among whom a container's is not
                identity=self._settings.identity,  # type: ignore[arg-type]
                standalone=True,
                clusterwide=not namespaces,
                namespaces=namespaces,
                stop_flag=stop,
            )
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)

    @property
    def _defaults(self) -> dict[str, object]:
        own = {"image": self._settings.image} if self._settings.image else {}
        return merged(self._settings.defaults, own)

    def _renderer(self) -> AbstractAsyncContextManager[ConfinedRenderer]:
        return confined(self._settings.chart or chart_folder())


async def run(settings: OperatorSettings) -> int:
    """Serve until told to stop; the exit status."""
    logging.configure("operator", settings.log_level)
    stdlib_logging.getLogger("kopf.objects").setLevel(stdlib_logging.WARNING)  # a line an event
    operator = Operator(settings)
    with stop_signal() as told:
        async with _probed(operator, settings), connected() as client:
            try:
                return await operator.run(client, told)
            except (Refusal, Unreachable) as trouble:
                _LOG.error("The operator can't work.", because=str(trouble))
                return 1


@asynccontextmanager
async def _probed(operator: Operator, settings: OperatorSettings) -> AsyncIterator[None]:
    host, port = settings.http_host, settings.http_port
    async with (
        serve(operator.app, host, port, setting="DIMSE_HTTP_PORT") as port,
        watch_readiness(operator.health),
    ):
        _LOG.info("Listening for probes.", port=port)
        yield


async def _passed_on(event: asyncio.Event, to: asyncio.Event) -> None:
    await event.wait()
    to.set()


async def _first(*events: asyncio.Event) -> None:
    """Wait until one of them is set."""
    waiting = [asyncio.create_task(each.wait()) for each in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
