"""The proxy with its real connections: DIMSE by `upper_layer`, NATS by `transport.nats`.

`run` is the process of its own, or the supervisor of several workers; `running` is the proxy within
a worker, or within another process (`standalone`).
"""

import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

from dimse_ingestion.audit.trail import AuditProcess, AuditTrail, open_audit_trail
from dimse_ingestion.observability.http_server import listening_socket
from dimse_ingestion.observability.process import run_service
from dimse_ingestion.proxy.audit import AssociationAudit
from dimse_ingestion.proxy.commitment.event_reports import EventReports
from dimse_ingestion.proxy.commitment.reports import ReportSender
from dimse_ingestion.proxy.dicom_tls import client_context, server_context
from dimse_ingestion.proxy.peers import PeerAssociations
from dimse_ingestion.proxy.reload import Reloader, reloading
from dimse_ingestion.proxy.service import Listener, ProxyDependencies, RunningProxy, open_proxy
from dimse_ingestion.proxy.space import SpaceDependencies
from dimse_ingestion.settings import ProxySettings
from dimse_ingestion.settings.errors import address_mistake
from dimse_ingestion.transport.client.client import CarrierClient
from dimse_ingestion.transport.nats.client import NatsClient
from dimse_ingestion.transport.nats.from_settings import nats_options
from dimse_ingestion.transport.protocol.subjects import Subjects, proxy_permissions
from dimse_ingestion.transport.protocol.timeouts import Timeouts
from dimse_ingestion.upper_layer.acceptor import Acceptor
from dimse_ingestion.upper_layer.limits import UpperLayerLimits
from dimse_ingestion.upper_layer.services import Services
from dimse_ingestion.workers.supervisor import Supervised, supervise
from dimse_ingestion.workers.worker import Worker


async def run(settings: ProxySettings) -> int:
    """Run the service until a signal to stop; return the exit status.

    Raises ConfigurationMistake when it can't start.
    """
    if settings.workers == 1:
        return await run_service("proxy", settings, running(settings, reloads=True))
    with _listener(settings) as listener:
        return await supervise(
            Supervised(
                service="proxy",
                description="proxy",
                target=f"{__name__}:{running.__name__}",
                settings=settings,
                workers=settings.workers,
                listener=listener,
                maximum_connections=_limits(settings).maximum_connections,
                reloads=True,
            )
        )


def _listener(settings: ProxySettings) -> socket.socket:
    """Return the socket that the supervisor of several workers accepts connections from."""
    try:
        return listening_socket(settings.host, settings.port)
    except OSError as error:
        address = f"{settings.host}:{settings.port}"
        raise address_mistake("DIMSE_PORT", address, error) from None


@asynccontextmanager
async def running(
    settings: ProxySettings, worker: Worker | None = None, *, reloads: bool = False
) -> AsyncIterator[RunningProxy]:
    """Run the proxy within the block and drain it at the end; it starts without NATS as well.

    With `worker`, it is one of several processes (see `workers`). It `reloads` its settings if the
    process is its own. Raises ConfigurationMistake when it can't start.
    """
    tls = server_context(settings)
    peers = PeerAssociations(settings)
    async with (
        open_audit_trail(settings, _audit_process(settings)) as trail,
        open_proxy(settings, _dependencies(settings, worker, tls, peers, trail), worker) as proxy,
    ):
        if not (reloads or worker):
            yield proxy
            return
        prepare = partial(_prepare_certificates, proxy.listener, peers)
        reloader = Reloader(settings, proxy.change, prepare)
        if worker is not None:  # started again, it has the settings of the supervisor's start
            await reloader.reload()
        async with reloading(reloader):
            yield proxy


def _audit_process(settings: ProxySettings) -> AuditProcess:
    return AuditProcess(
        service="proxy",
        processes=settings.workers,
        ae_titles=tuple(each.ae_title for each in settings.storage_spaces),
    )


def _dependencies(
    settings: ProxySettings,
    worker: Worker | None,
    tls: ssl.SSLContext | None,
    peers: PeerAssociations,
    trail: AuditTrail | None,
) -> ProxyDependencies:
    audit = AssociationAudit(trail) if trail else None

    def acceptor(services: Services) -> Acceptor:
        handshake_failed = audit.handshake_failed if audit else None
        return Acceptor(services, _limits(settings), tls, handshake_failed)

    def connect(space: ProxySettings) -> AbstractAsyncContextManager[SpaceDependencies]:
        # the peers of the space's own settings, which a reload changes
        return _transport(space, worker, EventReports(peers, space.peer), peers, trail)

    return ProxyDependencies(acceptor, connect, audit)


def _prepare_certificates(
    listener: Listener, associations: PeerAssociations, settings: ProxySettings
) -> Callable[[], None]:
    """Load certificates; return the function that uses them. Raises ConfigurationMistake."""
    server, client = server_context(settings), client_context(settings)

    def use() -> None:
        listener.replace_tls(server)
        associations.replace_tls(client)

    return use


@asynccontextmanager
async def _transport(
    settings: ProxySettings,
    worker: Worker | None,
    reports: ReportSender,
    peers: PeerAssociations,
    trail: AuditTrail | None,
) -> AsyncIterator[SpaceDependencies]:
    """Connect one storage space to NATS within the block."""
    needs = proxy_permissions(settings.nats_subject_root, settings.proxy_id)
    nats = NatsClient(nats_options(settings, f"proxy {settings.proxy_id}", needs))
    subjects = Subjects(settings.nats_subject_root)
    timeouts = Timeouts(deadline=settings.operation_timeout)

    def rate() -> float | None:
        """Return this process's share of the limit, which a reload may have changed."""
        limit = settings.nats_rate()
        return limit and limit / settings.workers

    client = CarrierClient(
        nats,
        subjects,
        settings.proxy_id,
        timeouts,
        has_siblings=worker is not None,
        space=settings.ae_title,
        rate=rate,
        compresses=lambda: settings.nats_compression == "zstd",
    )
    await nats.start()
    try:
        await client.start()
        yield SpaceDependencies(
            client, lambda: nats.problem, reports, nats.on_change, peers, rate, trail
        )
    finally:
        await client.close()
        await nats.close()


def _limits(settings: ProxySettings) -> UpperLayerLimits:
    return UpperLayerLimits(
        maximum_pdu_length=settings.maximum_pdu_length,
        artim_timeout=settings.artim_timeout,
        idle_timeout=settings.association_idle_timeout,
        dimse_timeout=settings.message_timeout,
        write_timeout=settings.write_timeout,
        response_timeout=settings.association_idle_timeout,
    )
