"""One storage space of the proxy: its admission, spool, requests and readiness.

Spaces share the port and nothing that one of them can use up: each has its own connection to NATS,
spool, and number of associations. Which association belongs to which space is in `space_router`.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial

from dimse_ingestion.audit.trail import AuditTrail
from dimse_ingestion.background_tasks import background_tasks
from dimse_ingestion.observability import probes
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.proxy.acceptance import Admission
from dimse_ingestion.proxy.audit import RequestAudit
from dimse_ingestion.proxy.bridge import Bridge
from dimse_ingestion.proxy.commitment.reports import ReportSender
from dimse_ingestion.proxy.commitment.service import (
    NoReports,
    StorageCommitment,
    open_commitment,
)
from dimse_ingestion.proxy.last_success import LastSuccess
from dimse_ingestion.proxy.outbox_service import OutboxService
from dimse_ingestion.proxy.peers import PeerAssociations
from dimse_ingestion.proxy.spooled_instances import SpooledInstances
from dimse_ingestion.proxy.upstream_probe import UpstreamProbe
from dimse_ingestion.settings import ProxySettings
from dimse_ingestion.settings.errors import directory_mistake
from dimse_ingestion.spooling.spool import Limits, Spool
from dimse_ingestion.transport.contract import TransportClient
from dimse_ingestion.workers.counts import Count, Kind, LocalCount
from dimse_ingestion.workers.worker import Worker

_LOG = logger(__name__)


@dataclass(frozen=True, slots=True)
class SpaceDependencies:
    """The connection of one storage space to NATS, and to the other AEs."""

    requester: TransportClient
    transport_problem: Callable[[], str]
    reports: ReportSender = field(default_factory=NoReports)
    on_connection_change: Callable[[Callable[[bool], None]], None] = lambda _: None
    """Registers a function to call with whether the transport is connected, at each change."""
    peers: PeerAssociations | None = None
    """Associations to peers, counted for all spaces together; None: counted for this one."""
    rate: Callable[[], float | None] = lambda: None
    """Returns the rate limit now in bytes per second, or None."""
    audit_trail: AuditTrail | None = None
    """The audit trail of the proxy; None: there is none."""


class SpaceWorker:
    """The process of a space: its number, and its counts over all processes of the proxy."""

    def __init__(self, worker: Worker | None = None, space: int = 0) -> None:
        self._worker = worker
        self._space = space

    @property
    def number(self) -> int:
        """The worker's number, from 1."""
        return self._worker.number if self._worker else 1

    def spooled_instances(self, outboxes: OutboxService) -> SpooledInstances:
        """Return the instances in the spool of the space, over all processes."""
        siblings = self._worker.siblings if self._worker else None
        return SpooledInstances(outboxes, siblings, f"spooled-{self._space}")

    def count(self, kind: Kind) -> Count:
        """Return a count of the space."""
        return self._worker.count(kind, self._space) if self._worker else LocalCount()


@dataclass(frozen=True, slots=True)
class Space:
    """A storage space that takes associations; `settings` are its own."""

    settings: ProxySettings
    admission: Admission
    bridge: Bridge
    path: UpstreamProbe
    spool: Spool
    is_busy: Callable[[], bool]
    """Returns whether it has data sets to forward, or storage commitment reports to send."""

    def configure(self, settings: ProxySettings) -> None:
        """Use what a reload may change, for new associations and data sets."""
        _, fixed = self.settings.differences(settings)
        if fixed:
            _LOG.warning(
                "Changed settings of a storage space need a restart of the proxy.",
                space=self.settings.ae_title,
                settings=fixed,
            )
        self.settings.take_over(settings)
        self.admission.configure()
        self.spool.limits = _limits(self.settings)


@asynccontextmanager
async def open_space(
    settings: ProxySettings,
    dependencies: SpaceDependencies,
    health: probes.Health,
    last_success: LastSuccess,
    worker: SpaceWorker | None = None,
) -> AsyncIterator[Space]:
    """Open a space within the block, and add its checks to `health`.

    Raises ConfigurationMistake when a folder of it can't be used.
    """
    worker = worker or SpaceWorker()
    async with AsyncExitStack() as stack:
        spool = stack.enter_context(_spool(settings, worker.count))
        outbox = OutboxService(settings, dependencies, worker.number, worker.count)
        await stack.enter_async_context(outbox.running())
        spooled = worker.spooled_instances(outbox)
        await stack.enter_async_context(spooled.answering())
        commitment = await stack.enter_async_context(
            open_commitment(
                settings,
                dependencies.requester,
                dependencies.reports,
                spooled,
                worker_number=worker.number,
            )
        )
        admission = Admission(
            settings, lambda: spool.problem or outbox.problem, worker.count(Kind.ASSOCIATIONS)
        )
        bridge = Bridge(
            settings,
            admission,
            spool,
            outbox.client,
            commitment,
            dependencies.peers,
            _audit(settings, dependencies.audit_trail),
        )
        path = UpstreamProbe(
            dependencies.requester, settings.ae_title, dependencies.transport_problem
        )
        bridge.request_probe = path.request_probe
        bridge.record_success = last_success.record
        _add_checks(health, dependencies, spool, path, outbox)
        async with background_tasks(path.watch(), name="upstream probe"):
            is_busy = partial(_is_busy, outbox, commitment)
            yield Space(settings, admission, bridge, path, spool, is_busy)


def _is_busy(outbox: OutboxService, commitment: StorageCommitment | None) -> bool:
    return bool(outbox.describe_backlog()) or (commitment is not None and commitment.is_busy)


def _audit(settings: ProxySettings, trail: AuditTrail | None) -> RequestAudit | None:
    if trail is None:
        return None
    is_stored = settings.acknowledge == "stored"
    return RequestAudit(trail, settings.ae_title, knows_duplicates=is_stored)


def _limits(settings: ProxySettings) -> Limits:
    return Limits(
        memory=settings.spool_memory,
        memory_in_all=settings.spool_memory_in_all,
        disk=settings.spool_limit,
        high_water=settings.spool_high_water,
    )


@contextmanager
def _spool(settings: ProxySettings, counts: Callable[[Kind], Count]) -> Iterator[Spool]:
    spool = Spool(
        settings.spool_directory,
        _limits(settings),
        counts(Kind.SPOOL_MEMORY),
        counts(Kind.SPOOL_DISK),
        space=settings.ae_title,
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


def _add_checks(
    health: probes.Health,
    dependencies: SpaceDependencies,
    spool: Spool,
    path: UpstreamProbe,
    outbox: OutboxService,
) -> None:
    """Add the checks of readiness; with a spool that forwards, NATS may be away."""
    add_upstream = health.add_note if outbox.acknowledges else health.add
    add_upstream("nats", dependencies.transport_problem)
    health.add("spool", lambda: spool.problem or outbox.problem)
    add_upstream("path", lambda: "" if dependencies.transport_problem() else path.problem)
    health.add_note("outbox", outbox.describe_backlog)
