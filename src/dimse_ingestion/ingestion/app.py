"""Start and stop of the ingestion service.

Order matters: probes are served first and stopped last. A drain refuses new requests, lets sessions
finish, and only then closes the connection to NATS, so that a rolling update fails no operation.
"""

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from starlette.applications import Starlette

from dimse_ingestion.ingestion.dispatch import Dispatch
from dimse_ingestion.ingestion.retrieve_dispatch import RetrieveDispatch
from dimse_ingestion.observability import probes
from dimse_ingestion.observability.http_server import serve
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.observability.process import run_service
from dimse_ingestion.observability.series import start_series
from dimse_ingestion.operations.commitment import CommitmentCheck
from dimse_ingestion.operations.composition import Backends, open_backends, storage_space
from dimse_ingestion.operations.decompression import Decompressor
from dimse_ingestion.operations.echo import BackendHealthCheck
from dimse_ingestion.operations.fetch import DataSetReader
from dimse_ingestion.operations.find import Finder
from dimse_ingestion.operations.instance_list import InstanceLister
from dimse_ingestion.operations.scan_pacing import ScanPacing
from dimse_ingestion.operations.store import Storer
from dimse_ingestion.pixels.decoder_pool import DecoderPool, missing_libraries
from dimse_ingestion.settings import IngestionSettings
from dimse_ingestion.transport.nats.client import NatsClient
from dimse_ingestion.transport.nats.from_settings import nats_options
from dimse_ingestion.transport.protocol.subjects import Subjects, ingestion_permissions
from dimse_ingestion.transport.server.flow_limits import FlowLimits
from dimse_ingestion.transport.server.server import TransportServer
from dimse_ingestion.workers.supervisor import Supervised, supervise
from dimse_ingestion.workers.worker import Worker

_LOG = logger(__name__)
_LONGEST_ID = 64


async def run(settings: IngestionSettings) -> int:
    """Run the service until a signal to stop; return the exit status.

    Raises ConfigurationMistake when it can't start.
    """
    if settings.workers == 1:
        return await run_service("ingestion", settings, running(settings))
    return await supervise(
        Supervised(
            service="ingestion",
            description="ingestion service",
            target=f"{__name__}:{running.__name__}",
            settings=settings,
            workers=settings.workers,
        )
    )


@asynccontextmanager
async def running(
    settings: IngestionSettings, worker: Worker | None = None
) -> AsyncIterator[probes.Health]:
    """Serve within the block and drain at its end.

    With `worker`, it is one of several processes (see `workers`), and a replica of its own. It
    starts whether NATS, bucket and catalogue are reachable or not. Raises ConfigurationMistake when
    the HTTP address can't be used.
    """
    if worker is not None:
        settings = settings.model_copy(update={"replica_id": _worker_replica_id(settings, worker)})
    health = probes.Health("ingestion service")
    start_series("ingestion")
    async with AsyncExitStack() as stack:
        backends = await stack.enter_async_context(open_backends(settings))
        await _serve_probes(stack, settings, health, worker)
        client = _nats_client(settings)
        pacing = ScanPacing()
        decompressor = await _decompressor(stack, settings, pacing)
        server = _transport_server(settings, client, backends, health, pacing, decompressor)
        stack.push_async_callback(client.close)
        await client.start()
        await stack.enter_async_context(probes.watch_readiness(health))
        try:
            await server.start()
            _LOG.info("Serving.", replica=settings.replica_id, root=settings.nats_subject_root)
            yield health
        finally:
            health.drain()
            await server.drain(settings.drain_timeout)
            _LOG.info("Drained.", replica=settings.replica_id)


async def _serve_probes(
    stack: AsyncExitStack,
    settings: IngestionSettings,
    health: probes.Health,
    worker: Worker | None,
) -> None:
    if worker is not None:
        await stack.enter_async_context(worker.answer_probes(health))
        return
    app = Starlette(routes=probes.routes(health))
    host, port = settings.http_host, settings.http_port
    await stack.enter_async_context(serve(app, host, port, setting="DIMSE_HTTP_PORT"))


def _worker_replica_id(settings: IngestionSettings, worker: Worker) -> str:
    """Return an id that changes with each start of each worker."""
    suffix = f"-{worker.number}-{secrets.token_hex(3)}"
    return settings.replica_id[: _LONGEST_ID - len(suffix)] + suffix


def _nats_client(settings: IngestionSettings) -> NatsClient:
    needs = ingestion_permissions(settings.nats_subject_root)
    return NatsClient(nats_options(settings, f"ingestion {settings.replica_id}", needs))


async def _decompressor(
    stack: AsyncExitStack, settings: IngestionSettings, pacing: ScanPacing
) -> Decompressor | None:
    """Return what decompresses for C-MOVE and C-GET; its processes start with the first image."""
    missing = missing_libraries()
    if settings.decoders == 0 or missing:
        _LOG.warning(
            "Nothing is decompressed: C-MOVE and C-GET send compressed instances as stored alone.",
            reason="DIMSE_DECODERS is 0" if settings.decoders == 0 else f"not installed: {missing}",
            todo="Set DIMSE_DECODERS and install dimse-ingestion[pixels].",
        )
        return None
    decoders = await stack.enter_async_context(DecoderPool(settings.decoders))
    return Decompressor(decoders, settings.decoder_directory, pacing)


def _transport_server(
    settings: IngestionSettings,
    client: NatsClient,
    backends: Backends,
    health: probes.Health,
    pacing: ScanPacing,
    decompressor: Decompressor | None,
) -> TransportServer:
    health_check = BackendHealthCheck(
        lambda: backends.bucket.check(write=True), backends.sink.check, backends.queries.check
    )
    _add_checks(health, client, health_check)
    reader = DataSetReader(backends.bucket, decompressor)
    dispatch = Dispatch(
        settings.replica_id,
        Storer(backends.bucket, backends.sink, storage_space(settings), pacing),
        Finder(backends.queries, settings.maximum_matches, pacing),
        RetrieveDispatch(InstanceLister(backends.queries, pacing), reader),
        health_check,
        CommitmentCheck(backends.bucket, backends.queries),
    )
    subjects = Subjects(settings.nats_subject_root)
    return TransportServer(
        client, subjects, settings.replica_id, dispatch, limits=_limits(settings)
    )


def _limits(settings: IngestionSettings) -> FlowLimits:
    return FlowLimits(
        sessions=settings.maximum_sessions,
        window=settings.window,
        largest_window=max(settings.window, settings.grant_limit // 2),
        total_window=settings.grant_limit,
    )


def _add_checks(
    health: probes.Health, client: NatsClient, health_check: BackendHealthCheck
) -> None:
    async def bucket() -> str:
        return (await health_check.health()).bucket

    async def event_sink() -> str:
        return (await health_check.health()).event_sink

    async def catalogue() -> str:
        return (await health_check.health()).catalogue

    health.add("nats", lambda: client.problem)
    health.add("bucket", bucket)
    health.add("event sink", event_sink)
    health.add("catalogue", catalogue)
