"""The outbox and its forwarder as parts of the proxy, by the setting `acknowledge`.

Each worker of the proxy has an outbox of its own. What an earlier run left is read in the
background, so that probes answer meanwhile, and nothing is taken until it is read. It is forwarded
whatever the settings are now: with `acknowledge: stored`, and by the first worker where there are
fewer now. An outbox with dead letters alone is used, too: they are counted, and may be retried.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dimse_ingestion.background_tasks import background_tasks
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.outbox.disk import Limits
from dimse_ingestion.outbox.folders import Folders, NewerFormat, OutboxInUse
from dimse_ingestion.outbox.outbox import Outbox
from dimse_ingestion.proxy.forwarder import Forwarder, ForwarderConnection
from dimse_ingestion.proxy.forwarding_pace import PaceLimits
from dimse_ingestion.proxy.spooled_client import SpooledClient
from dimse_ingestion.settings import ConfigurationMistake, ProxySettings
from dimse_ingestion.settings.errors import directory_mistake
from dimse_ingestion.transport.contract import TransportClient
from dimse_ingestion.workers.counts import Count, Kind, LocalCount

_LOG = logger(__name__)
_SETTING = "DIMSE_SPOOL_DIRECTORY"
_RECOVERY_PAUSE = 5.0
"""Seconds until an outbox that could not be read is read again."""


class Upstream(Protocol):
    """The way to the service (see `space.SpaceDependencies`)."""

    @property
    def requester(self) -> TransportClient:
        """The client of the transport."""

    @property
    def transport_problem(self) -> Callable[[], str]:
        """Returns what is wrong with the connection, or an empty string."""

    @property
    def on_connection_change(self) -> Callable[[Callable[[bool], None]], None]:
        """Registers a function to call at each change of the connection."""

    @property
    def rate(self) -> Callable[[], float | None]:
        """Returns the rate limit now in bytes per second, or None."""


@dataclass(frozen=True, slots=True)
class _Forwarding:
    """An outbox and what empties it."""

    outbox: Outbox
    forwarder: Forwarder


class OutboxService:
    """The outboxes of one proxy process; without one, everything goes through to the service."""

    def __init__(
        self,
        settings: ProxySettings,
        upstream: Upstream,
        worker: int = 1,
        counts: Callable[[Kind], Count] = lambda _: LocalCount(),
    ) -> None:
        self._upstream = upstream
        self._settings = settings
        self._count = counts(Kind.OUTBOX_DISK)
        self.acknowledges = settings.acknowledge == "spooled"
        """True if a C-STORE is answered when the outbox has it."""
        self._all = [self._forwarding(path) for path in self._directories(worker)]
        self.client = upstream.requester
        """The client for the bridge."""
        if self.acknowledges:
            self.client = SpooledClient(self._all[0].outbox, upstream.requester)

    @property
    def problem(self) -> str:
        """Return why no C-STORE can be taken, as a sentence; empty when one can."""
        return self._all[0].outbox.problem if self.acknowledges else ""

    def describe_backlog(self) -> str:
        """Return what waits as a sentence for /readyz; empty when nothing does."""
        if recoveries := [each.outbox.recovery for each in self._all if each.outbox.recovery]:
            return " ".join(recoveries)
        waiting = [each for each in self._all if len(each.outbox.queue)]
        if not waiting:
            return ""
        queues = [each.outbox.queue for each in waiting]
        count, octets = sum(map(len, queues)), sum(queue.octets for queue in queues)
        seconds = max(each.outbox.oldest_seconds for each in waiting)
        text = f"{count} data sets ({octets} bytes) wait, the oldest for {seconds:.0f} s"
        failures = (each.forwarder.last_failure for each in waiting)
        reason = self._upstream.transport_problem() or next(filter(None, failures), "")
        return f"{text}: {reason}" if reason else f"{text}."

    def has_instance(self, fingerprint: int) -> bool:
        """Return whether an instance with this fingerprint waits to be forwarded."""
        return any(fingerprint in each.outbox.queue.instances for each in self._all)

    @property
    def knows_instances(self) -> bool:
        """Return whether `has_instance` is right about every instance that waits."""
        outboxes = (each.outbox for each in self._all)
        return all(not each.recovery and each.queue.instances.is_complete for each in outboxes)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Lock the outboxes, then recover them and forward from them, within the block.

        An empty one takes data sets at once, any other when it is recovered. Raises
        ConfigurationMistake.
        """
        async with AsyncExitStack() as stack:
            for each in self._all:
                stack.push_async_callback(each.outbox.close)
                await _open(each.outbox)
                await stack.enter_async_context(_recover_and_forward(each))
            yield

    def _directories(self, worker: int) -> list[Path]:
        """Return the outboxes of this process: its own, and those that no worker has now."""
        own = self._settings.outbox_directory(worker)
        directories = [own] if self.acknowledges or Folders(own).has_data_sets() else []
        if worker == 1:
            found = self._settings.outbox_directories()
            left = [path for number, path in found.items() if number > self._settings.workers]
            directories += [path for path in left if Folders(path).has_data_sets()]
        return directories

    def _forwarding(self, directory: Path) -> _Forwarding:
        settings, upstream = self._settings, self._upstream
        limits = Limits(settings.spool_limit, settings.spool_high_water)
        outbox = Outbox(directory, limits, self._count, settings.ae_title)
        forwarder = Forwarder(
            outbox,
            ForwarderConnection(upstream.requester, upstream.transport_problem, upstream.rate),
            settings.operation_timeout,
            PaceLimits(settings.forward_parallel),
        )
        upstream.on_connection_change(forwarder.on_connection_change)
        return _Forwarding(outbox, forwarder)


@asynccontextmanager
async def _recover_and_forward(part: _Forwarding) -> AsyncIterator[None]:
    async def run() -> None:
        if part.outbox.recovery:
            await _recover(part.outbox)
        await part.forwarder.run()

    async with background_tasks(run(), name="forwarder"):
        yield


async def _recover(outbox: Outbox) -> None:
    """Recover an outbox; try again after a pause while that fails."""
    while True:
        try:
            return await outbox.recover()
        except OSError as error:
            _LOG.error("The spool of an earlier run can't be read.", reason=error.strerror)
        except Exception:  # noqa: BLE001 - the proxy says at /readyz that it takes nothing
            _LOG.exception("The recovery failed because of an error in this software.")
        await asyncio.sleep(_RECOVERY_PAUSE)


async def _open(outbox: Outbox) -> None:
    """Lock an outbox, and recover one that is empty. Raises ConfigurationMistake."""
    directory = outbox.folders.root
    try:
        await outbox.lock()
        if not outbox.folders.has_content():
            await outbox.recover()
    except OutboxInUse:
        raise ConfigurationMistake(
            [f"{_SETTING}: {directory} is in use by another proxy: give each its own."]
        ) from None
    except NewerFormat as newer:
        raise ConfigurationMistake(
            [f"{_SETTING}: {newer} was written by a newer release: run that one."]
        ) from None
    except OSError as error:
        raise directory_mistake(_SETTING, str(directory), error) from None
