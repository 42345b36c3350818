"""The operator's process: joins the API client, kopf's watches, the workers and the probes."""

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

from dimse_ingestion.background_tasks import background_tasks
from dimse_ingestion.observability import logging
from dimse_ingestion.observability.http_server import serve
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.observability.probes import Health, routes, watch_readiness
from dimse_ingestion.observability.process import stop_signal
from dimse_ingestion.operator.api_errors import Refusal, Unreachable
from dimse_ingestion.operator.cluster import Cluster, api_client, open_cluster
from dimse_ingestion.operator.handlers import Handlers, kopf_settings, post_event
from dimse_ingestion.operator.leader_election import candidate
from dimse_ingestion.operator.reconcile import Reconciler
from dimse_ingestion.operator.render import chart_folder
from dimse_ingestion.operator.render_sandbox import SandboxedRenderer, open_renderer
from dimse_ingestion.operator.values import merge
from dimse_ingestion.operator.watch_health import ObjectWatchCheck, ResourceWatchCheck
from dimse_ingestion.operator.workers import Workers
from dimse_ingestion.settings import OperatorSettings

_LOG = logger(__name__)


class Operator:
    """One replica of the operator."""

    def __init__(self, settings: OperatorSettings) -> None:
        self._settings = settings
        self._resource_watch: ResourceWatchCheck | None = None
        self._object_watch = ObjectWatchCheck(settings.namespaces)
        self.health = Health("operator")
        self.health.add("watch", lambda: self.problem)

    @property
    def problem(self) -> str:
        """A sentence when only a restart helps, as when a watch is dead; else empty."""
        if self._resource_watch is None:
            return ""
        return self._resource_watch.problem or self._object_watch.problem

    @property
    def app(self) -> Starlette:
        """Return the routes /livez (fails when a watch is dead), /readyz and /metrics."""

        async def livez(_: Request) -> Response:
            problem = self.problem
            return PlainTextResponse(f"{problem or 'alive'}\n", 503 if problem else 200)

        others = [each for each in routes(self.health) if each.path != "/livez"]
        return Starlette(routes=[Route("/livez", livez), *others])

    async def run(self, client: ApiClient, stop: asyncio.Event) -> int:
        """Wait for the Lease, then operate until `stop` is set; return the exit status.

        It is 1 when the Lease was lost: another replica may work now, so this one must restart.
        """
        async with candidate(client, self._settings) as leadership:
            await _wait_for_any(stop, leadership.acquired, leadership.lost)
            if leadership.acquired.is_set() and not stop.is_set():
                async with open_cluster(client) as cluster, self._renderer() as renderer:
                    await self._operate(cluster, renderer, leadership.lost)
            return 1 if leadership.lost.is_set() else 0

    async def _operate(
        self, cluster: Cluster, renderer: SandboxedRenderer, lost: asyncio.Event
    ) -> None:
        """Watch and reconcile until the Lease is lost or a signal comes, which kopf handles."""
        stop = asyncio.Event()
        reconciler = Reconciler(cluster, renderer, self._defaults, post_event, self._object_watch)
        workers = Workers(reconciler.reconcile, self._settings.resync)
        namespaces = self._settings.namespaces
        resource_watch = ResourceWatchCheck(cluster, reconciler.known, namespaces, workers.wake)
        self._resource_watch = resource_watch
        async with (
            background_tasks(resource_watch.run(), name="comparison"),
            background_tasks(_forward(lost, stop), name="stop without a Lease"),
        ):
            await kopf.operator(
                registry=Handlers(reconciler, workers, stop).registry(),
                settings=kopf_settings(self._settings),
                # kopf's default looks up the user's name, which a container's user does not have
                identity=self._settings.identity,  # type: ignore[arg-type]
                standalone=True,
                clusterwide=not namespaces,
                namespaces=namespaces,
                stop_flag=stop,
            )

    @property
    def _defaults(self) -> dict[str, object]:
        own = {"image": self._settings.image} if self._settings.image else {}
        return merge(self._settings.defaults, own)

    def _renderer(self) -> AbstractAsyncContextManager[SandboxedRenderer]:
        return open_renderer(self._settings.chart or chart_folder())


async def run(settings: OperatorSettings) -> int:
    """Run the operator until a signal to stop; return the exit status."""
    logging.configure("operator", settings.log_level)
    stdlib_logging.getLogger("kopf.objects").setLevel(stdlib_logging.WARNING)  # a line an event
    operator = Operator(settings)
    with stop_signal() as stop:
        async with _serve_probes(operator, settings), api_client() as client:
            try:
                return await operator.run(client, stop)
            except (Refusal, Unreachable) as error:
                _LOG.error("The operator can't start.", reason=str(error))
                return 1


@asynccontextmanager
async def _serve_probes(operator: Operator, settings: OperatorSettings) -> AsyncIterator[None]:
    host, port = settings.http_host, settings.http_port
    async with (
        serve(operator.app, host, port, setting="DIMSE_HTTP_PORT") as port,
        watch_readiness(operator.health),
    ):
        _LOG.info("Listening for probes.", port=port)
        yield


async def _forward(event: asyncio.Event, to: asyncio.Event) -> None:
    await event.wait()
    to.set()


async def _wait_for_any(*events: asyncio.Event) -> None:
    """Wait until one of the events is set."""
    waiting = [asyncio.create_task(each.wait()) for each in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
