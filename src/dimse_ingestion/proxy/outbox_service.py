"""The outbox and its forwarder as parts of the proxy, by the setting `acknowledge`.

Each worker of the proxy has an outbox of its own. What an earlier run left is forwarded whatever
the settings are now: with `acknowledge: stored`, and by the first worker where there are fewer now.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

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

_SETTING = "DIMSE_SPOOL_DIRECTORY"


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

    def is_pending(self, sop_instance_uid: str, received_before: float) -> bool:  # noqa: ARG002 - no index by UID
        """Return whether an instance received before a Unix time may wait to be forwarded.

        True as long as any data set waits that came before it: they leave in about their order.
        """
        oldest = (each.outbox.queue.oldest for each in self._all)
        return any(each is not None and each.received_at <= received_before for each in oldest)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the outboxes and forward from them within the block.

        Raises ConfigurationMistake.
        """
        async with AsyncExitStack() as stack:
            for each in self._all:
                stack.push_async_callback(each.outbox.close)
                await _open(each.outbox)
                await stack.enter_async_context(_forward(each.forwarder))
            yield

    def _directories(self, worker: int) -> list[Path]:
        """Return the outboxes of this process: its own, and those that no worker has now."""
        own = self._settings.outbox_directory(worker)
        directories = [own] if self.acknowledges or Folders(own).has_content() else []
        if worker == 1:
            found = self._settings.outbox_directories()
            left = [path for number, path in found.items() if number > self._settings.workers]
            directories += [path for path in left if Folders(path).has_content()]
        return directories

    def _forwarding(self, directory: Path) -> _Forwarding:
        settings, upstream = self._settings, self._upstream
        limits = Limits(settings.spool_limit, settings.spool_high_water)
        outbox = Outbox(directory, limits, self._count, settings.ae_title)
        forwarder = Forwarder(
            outbox,
            ForwarderConnection(upstream.requester, upstream.transport_problem),
            settings.operation_timeout,
            PaceLimits(settings.forward_parallel),
        )
        upstream.on_connection_change(forwarder.on_connection_change)
        return _Forwarding(outbox, forwarder)


@asynccontextmanager
async def _forward(forwarder: Forwarder) -> AsyncIterator[None]:
    running = asyncio.create_task(forwarder.run(), name="forwarder")
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _open(outbox: Outbox) -> None:
    directory = outbox.folders.root
    try:
        await outbox.open()
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
