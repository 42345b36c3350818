"""The sessions of one replica: admission, a second attempt that joins, routing, and removal.

Each session has a task that performs its operation. The callbacks here must not block.
`session_driver` runs the state machine of a session, `execute` calls the operation.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.observability import metrics, tracing
from dimse_ingestion.observability.logging import log_context
from dimse_ingestion.transport.carrier import Carrier, CarrierDown, Delivery
from dimse_ingestion.transport.contract import Operations
from dimse_ingestion.transport.protocol.batches import BatchSender
from dimse_ingestion.transport.protocol.codec import (
    Abort,
    Busy,
    Cancel,
    Credit,
    Message,
    OpenCommit,
    OpenEcho,
    OpenFetch,
    OpenFind,
    OpenRetrieve,
    OpenStore,
    Reject,
    Result,
    Unknown,
    chunk_size,
    encode,
    inline_size,
)
from dimse_ingestion.transport.protocol.fetch import FetchSender
from dimse_ingestion.transport.protocol.fetch_batch import within
from dimse_ingestion.transport.protocol.find import FindSender
from dimse_ingestion.transport.protocol.messages import FetchOpen
from dimse_ingestion.transport.protocol.retrieve import RetrieveSender
from dimse_ingestion.transport.protocol.state import SessionState
from dimse_ingestion.transport.protocol.store_receiver import StoreReceiver
from dimse_ingestion.transport.protocol.subjects import Subjects, last_token, new_session
from dimse_ingestion.transport.protocol.timeouts import Timeouts
from dimse_ingestion.transport.server.execute import OperationExecutor
from dimse_ingestion.transport.server.flow_limits import CreditPool, FlowLimits
from dimse_ingestion.transport.server.openings import (
    Opening,
    inline_of,
    is_valid,
    request_of,
    service_of,
)
from dimse_ingestion.transport.server.result_cache import Request, ResultCache
from dimse_ingestion.transport.server.session_driver import SessionDriver

_WITHOUT_ANSWER = (Abort, Cancel, Credit)
_LEAST_FETCHED = 64 * 1024
"""Bytes reserved for a fetch at least: a proxy whose buffer is full grants none with its open."""


@dataclass(slots=True, eq=False)
class _Session:
    name: str
    request: Request
    driver: SessionDriver[SessionState]
    window: int = 0

    @property
    def is_fetch(self) -> bool:
        """Return whether it sends a data set, so that its window is one of fetches."""
        return isinstance(self.driver.machine, FetchSender)


class Sessions:
    """The sessions of the replica `replica_id`."""

    def __init__(
        self,
        carrier: Carrier,
        subjects: Subjects,
        replica_id: str,
        operations: Operations,
        timeouts: Timeouts,
        limits: FlowLimits,
    ) -> None:
        self._carrier, self._subjects, self._replica_id = carrier, subjects, replica_id
        self._executor = OperationExecutor(operations)
        self._timeouts, self._limits = timeouts, limits
        self._credit_pool = CreditPool(limits)
        self._fetch_pool = CreditPool(
            limits, metrics.transport_fetch_bytes, limits.total_fetch_window
        )
        self._fetches = 0
        self._results = ResultCache(timeouts.result_retention)
        self._by_name: dict[str, _Session] = {}
        self._by_request: dict[Request, _Session] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._by_name)

    def open(self, opening: Opening, inbox: str, parent: str) -> None:
        """Start or join the session of an operation, or answer it from the cache.

        The answers go to `inbox`; `parent` is the operation's traceparent.
        """
        request = request_of(opening)
        known = self._results.by_request(request, self._now())
        if known is not None:
            self._answer(inbox, known)
        elif not self._join_existing(request, inbox):
            self._start_session(opening, inbox, parent)

    def receive(self, message: Message, delivery: Delivery) -> None:
        """Pass a message to its session; answer for a session that is finished or unknown."""
        name = last_token(delivery.subject)
        if session := self._by_name.get(name):
            session.driver.receive(message, delivery.reply)
        elif delivery.reply and not isinstance(message, _WITHOUT_ANSWER):
            self._answer(delivery.reply, self._results.by_session(name, self._now()) or Unknown())

    def on_reconnect(self) -> None:
        """Send a resume for each transfer, since chunks on their way may be lost."""
        for session in self._by_name.values():
            machine = session.driver.machine
            if isinstance(machine, StoreReceiver):
                session.driver.send(machine.on_reconnect(session.driver.now()))

    async def wait_until_idle(self) -> None:
        """Wait until no session is open."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def leave(self) -> None:
        """Send LEAVING for each open session, and end it."""
        for session in list(self._by_name.values()):
            session.driver.send(session.driver.machine.leave())
        for task in self._tasks:
            task.cancel()
        await self.wait_until_idle()

    def _join_existing(self, request: Request, inbox: str) -> bool:
        """Let the attempt join the session that already performs its operation; return if it did.

        A session that cannot be joined (its query has lost the first batches) is superseded.
        """
        session = self._by_request.get(request)
        if session is None:
            return False
        if session.driver.resend_accept_to(inbox):
            return True
        if session.driver.machine.is_joinable:
            session.driver.join(inbox)
            return True
        session.driver.machine.supersede()
        session.driver.send([])
        return False

    def _start_session(self, opening: Opening, inbox: str, parent: str) -> None:
        window = self._reserve(opening)
        if isinstance(window, Message):
            metrics.transport_refused.labels(service_of(opening)).inc()
            self._answer(inbox, window)
            return
        name = new_session()
        subject = self._subjects.session(self._replica_id, name)
        driver, work = self._create_work(opening, subject, inbox, window)
        session = _Session(name, request_of(opening), driver, window)
        self._by_name[name] = self._by_request[session.request] = session
        self._fetches += session.is_fetch
        metrics.transport_sessions.labels(service_of(opening)).inc()
        task = asyncio.create_task(self._run(session, work, service_of(opening), parent))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: self._remove(session, service_of(opening)))
        task.add_done_callback(
            lambda _: work.close()
        )  # the task may be cancelled before the coroutine starts

    def _reserve(self, opening: Opening) -> int | Busy | Reject:
        """Return the window reserved for the session, or the message that declines it."""
        if not is_valid(opening):
            return Reject(status=Status.PROCESSING_FAILURE, comment="The open is malformed")
        others = len(self) - self._fetches
        if isinstance(opening, OpenEcho) and others < self._limits.echoes:
            return 0
        if isinstance(opening, OpenFetch):
            wanted = max(_LEAST_FETCHED, opening.limit - opening.open.offset)
            has_place = self._fetches < self._limits.fetches
            window = self._fetch_pool.reserve(wanted) if has_place else None
        else:
            size = opening.open.size if isinstance(opening, OpenStore) else 0
            window = self._credit_pool.reserve(size) if others < self._limits.sessions else None
        return Busy(retry_after=self._timeouts.busy_retry_after) if window is None else window

    def _create_work(
        self, opening: Opening, subject: str, inbox: str, window: int
    ) -> tuple[SessionDriver[SessionState], Coroutine[Any, Any, Result]]:
        """Return the session's driver and the coroutine of its operation."""
        now, timeouts, executor = self._now(), self._timeouts, self._executor
        if isinstance(opening, OpenStore):
            storing = SessionDriver(self._carrier, self._receiver(opening, subject), inbox)
            inline = inline_of(opening) is not None
            grow = partial(self._grow, subject)
            return storing, executor.store(opening.open, storing, window, grow, inline=inline)
        if isinstance(opening, OpenFind):
            answerer = FindSender(subject, opening.limit, self._chunk, timeouts, now)
            finding = SessionDriver(self._carrier, answerer, inbox)
            return finding, executor.find(opening.open, finding)
        if isinstance(opening, OpenRetrieve):
            lister = RetrieveSender(subject, opening.limit, self._chunk, timeouts, now)
            listing = SessionDriver(self._carrier, lister, inbox)
            return listing, executor.retrieve(opening.open, listing)
        if isinstance(opening, OpenFetch):
            offset, limit = opening.open.offset, opening.limit
            sender = FetchSender(subject, offset, limit, window, timeouts, now)
            fetching = SessionDriver(self._carrier, sender, inbox)
            chunk = self._fetch_chunk(opening.open, window)
            return fetching, executor.fetch(within(opening.open, window), fetching, chunk)
        plain = SessionDriver(self._carrier, SessionState(subject, timeouts, now), inbox)
        if isinstance(opening, OpenCommit):
            return plain, executor.commit(opening.open)
        return plain, executor.echo(opening.request)

    def _grow(self, subject: str, window: int) -> int:
        """Return a larger window for a session if there is credit for it."""
        session = self._by_name[last_token(subject)]
        session.window = self._credit_pool.grow(window)
        return session.window

    def _receiver(self, opening: OpenStore, subject: str) -> StoreReceiver:
        size, sha256 = opening.open.size, opening.open.sha256
        inline, now = inline_of(opening), self._now()
        return StoreReceiver(subject, size, sha256, self._chunk, self._timeouts, now, inline=inline)

    @property
    def _chunk(self) -> int:
        return min(self._limits.chunk, chunk_size(self._carrier.maximum_payload))

    def _fetch_chunk(self, open_: FetchOpen, window: int) -> int:
        """Return the bytes of a DATA message: a long data set has two of them on their way."""
        is_whole = open_.size - open_.offset <= window
        return min(inline_size(self._carrier.maximum_payload), window if is_whole else window // 2)

    async def _run(
        self, session: _Session, work: Coroutine[Any, Any, Result], service: str, parent: str
    ) -> None:
        """Perform the operation, wait until the proxy has every match, and cache the result."""
        driver, operation_id = session.driver, session.request.operation_id
        association_id = session.request.origin.association_id
        with (
            log_context(operation_id=operation_id, association_id=association_id),
            tracing.span(f"transport.{service}", parent, operation_id=operation_id),
        ):
            driver.finish(await work)
            await _wait_until_confirmed(driver)
        if driver.machine.result is not None and not driver.machine.failure_reason:
            self._results.put(session.name, session.request, driver.machine.result, self._now())

    def _remove(self, session: _Session, service: str) -> None:
        session.driver.close()
        (self._fetch_pool if session.is_fetch else self._credit_pool).release(session.window)
        self._fetches -= session.is_fetch
        del self._by_name[session.name]
        if self._by_request.get(session.request) is session:
            del self._by_request[session.request]
        metrics.transport_sessions.labels(service).dec()

    def _answer(self, inbox: str, message: Message) -> None:
        headers, body = encode(message)
        with suppress(CarrierDown):
            self._carrier.publish(inbox, body, headers=headers)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


async def _wait_until_confirmed(driver: SessionDriver[SessionState]) -> None:
    """Wait until the proxy has confirmed every batch or byte, or is gone."""
    machine = driver.machine
    if isinstance(machine, BatchSender | FetchSender):
        while not machine.is_done and not machine.failure_reason:
            await driver.wait_for_change()
