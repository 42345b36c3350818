"""The carrier over NATS, which reconnects for ever and reports why it cannot.

`NatsClient` opens one `Connection` after the other, each with credentials and certificates read
again, restores the subscriptions, and notifies its users at once when messages may have been lost.
It does not send lost messages again: that is the task of `transport.protocol`.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress

from dimse_ingestion.observability.logging import logger
from dimse_ingestion.transport.carrier import CarrierDown, Delivery
from dimse_ingestion.transport.nats.connection import Connection, Denial
from dimse_ingestion.transport.nats.credentials import Credential, CredentialError
from dimse_ingestion.transport.nats.errors import connection_lost_message
from dimse_ingestion.transport.nats.options import NatsOptions
from dimse_ingestion.transport.nats.permissions import Denials
from dimse_ingestion.transport.nats.reconnect import Connector, OpenedConnection
from dimse_ingestion.transport.nats.subscriptions import SubscriptionEntry, SubscriptionTable

_LOG = logger(__name__)
_DEFAULT_MAX_PAYLOAD = 1024 * 1024
_STABLE_AFTER = 10.0
"""Seconds after which a connection counts as stable and the back-off is reset."""
_CLOSE_TIMEOUT = 2.0


class _Subscription:
    def __init__(self, client: "NatsClient", entry: SubscriptionEntry) -> None:
        self._client = client
        self._entry = entry

    async def drain(self) -> None:
        """Unsubscribe; messages that are already on their way are still delivered."""
        await self._client._unsubscribe(self._entry)


class NatsClient:
    """A `Carrier` over NATS; it connects from `start` to `close`.

    Raises AddressError when constructed with an invalid address.
    """

    def __init__(self, settings: NatsOptions) -> None:
        self._settings = settings
        self._connector = Connector(settings)
        self._connection: Connection | None = None
        self._credential = Credential("no credential")
        self._generation = 0
        self._maximum_payload = _DEFAULT_MAX_PAYLOAD
        self._problem = f"NATS at {self._connector.server.url} has not been reached yet."
        self._denials = Denials()
        self._subscriptions = SubscriptionTable()
        self._change_callbacks: list[Callable[[bool], None]] = []
        self._ready = asyncio.Event()
        self._reconnect_needed = asyncio.Event()
        self._reconnect_needed.set()
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def connected(self) -> bool:
        """Return whether a connection showed a sign of life in three ping intervals (30 s)."""
        connection = self._connection
        if connection is None or not self._ready.is_set():
            return False
        return time.monotonic() - connection.last_sign_of_life <= 3 * self._settings.ping_interval

    @property
    def generation(self) -> int:
        """Return the number of connections so far: after a change, messages may have been lost."""
        return self._generation

    @property
    def maximum_payload(self) -> int:
        """Return how many bytes headers and body may have together on this connection."""
        return self._maximum_payload

    @property
    def problem(self) -> str:
        """Return the problem in a sentence for an operator; empty when healthy."""
        if self._connection is None:
            return self._problem
        if denial := self._denials.sentence:
            return denial
        return (
            ""
            if self.connected
            else connection_lost_message(self._connection.server, "no answer to a ping")
        )

    @property
    def denials(self) -> tuple[Denial, ...]:
        """Return the subjects that the server denies now."""
        return self._denials.all

    async def start(self) -> None:
        """Start to connect, and return at once."""
        self._start_task(self._reconnect_loop(), "nats reconnect")

    async def wait_connected(self, seconds: float) -> None:
        """Wait for a connection. Raises CarrierDown with the problem after so many seconds."""
        try:
            await asyncio.wait_for(self._ready.wait(), seconds)
        except TimeoutError:
            raise CarrierDown(self.problem) from None

    def publish(
        self,
        subject: str,
        body: bytes,
        *,
        reply: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Write one message to the connection's buffer, without waiting.

        Raises CarrierDown when not connected, MessageTooLarge (a ValueError) above
        `maximum_payload`, and ValueError for an invalid subject or header.
        """
        self._require_connection().send(subject, body, reply, headers)

    async def wait_writable(self) -> None:
        """Wait until less than 2 MiB is unsent. Raises CarrierDown."""
        await self._require_connection().wait_writable()

    async def subscribe(
        self, subject: str, take: Callable[[Delivery], None], *, queue: str = ""
    ) -> _Subscription:
        """Subscribe, over all reconnects; wait for the server's confirmation when connected.

        Raises ValueError for an invalid subject.
        """
        entry = self._subscriptions.add(subject, queue, take)
        if (connection := self._connection) is not None:
            with suppress(CarrierDown):
                entry.send_to(connection)
                await self._round_trip(connection)
        return _Subscription(self, entry)

    def on_change(self, changed: Callable[[bool], None]) -> None:
        """Call `changed(connected)` at each disconnect and each reconnect, at once."""
        self._change_callbacks.append(changed)

    async def close(self) -> None:
        """Flush, then close the connection."""
        self._closing = True
        await self._cancel_tasks()
        if (connection := self._connection) is not None:
            with suppress(CarrierDown):
                await self._round_trip(connection, _CLOSE_TIMEOUT)
            connection.cut("closed by us")
        self._problem = "The connection to NATS is closed."

    def on_message(self, number: int, delivery: Delivery) -> None:
        """Deliver a message (ConnectionListener)."""
        self._subscriptions.deliver(number, delivery)

    def on_lost(self, connection: Connection, reason: str) -> None:
        """Note the end of a connection, and reconnect (ConnectionListener)."""
        if connection is not self._connection:
            return
        self._connection = None
        self._ready.clear()
        self._problem = connection_lost_message(connection.server, reason)
        self._reconnect_needed.set()
        if not self._closing:
            _LOG.warning("The connection to NATS was lost.", reason=self._problem)
        self._notify_changed(connected=False)

    def on_denied(self, denial: Denial) -> None:
        """Note that the server denied a subject (ConnectionListener)."""
        if self._denials.add(denial):
            _LOG.error(
                "NATS denies a subject; allow it in the user's permissions.", denial=str(denial)
            )

    def on_lame_duck(self, connection: Connection) -> None:
        """Move to another server because this one shuts down (ConnectionListener)."""
        if connection is self._connection:
            _LOG.info(
                "The NATS server shuts down: connecting to another one.",
                server=connection.server.url,
            )
            self._reconnect_needed.set()

    def _require_connection(self) -> Connection:
        if self._connection is None:
            raise CarrierDown(self._problem)
        return self._connection

    def _notify_changed(self, *, connected: bool) -> None:
        for changed in self._change_callbacks:
            try:
                changed(connected)
            except Exception:  # noqa: BLE001 - the other callbacks must run, and it is logged
                _LOG.exception("A callback for a change of the NATS connection failed.")

    async def _reconnect_loop(self) -> None:
        """Open a connection whenever one is needed: after a loss, a lame duck, or a new credential.

        The connection in use stays until the new one is open, so that a planned move interrupts
        nothing; it is lost first only when it broke.
        """
        while not self._closing:
            await self._reconnect_needed.wait()
            await self._connector.pause()
            try:
                await self._switch_to(await self._connector.open(self))
            except CarrierDown as error:
                self._record_failure(str(error))
            except Exception:  # noqa: BLE001 - reconnecting must continue, and it is logged
                self._connector.count_failure()
                _LOG.exception("Connecting to NATS raised an unexpected exception; it is retried.")

    def _record_failure(self, sentence: str) -> None:
        self._connector.count_failure()
        if sentence != self._problem:
            _LOG.warning("NATS is not reached.", reason=sentence)
        self._problem = sentence

    async def _switch_to(self, opened: OpenedConnection) -> None:
        """Use a new connection, and close the one that it replaces once it is drained.

        A replaced connection counts as lost and restored for the callbacks: messages in flight may
        arrive in another order, or twice, so both ends of each session must compare positions.
        Subscriptions are confirmed before the client is ready again: an answer to the first probe
        would otherwise find no subscriber.
        """
        connection = opened.connection
        previous, self._connection = self._connection, connection
        self._reconnect_needed.clear()
        self._credential = opened.credential
        self._generation += 1
        self._maximum_payload = connection.max_payload
        self._denials.forget()
        if previous is not None:
            self._ready.clear()
            self._notify_changed(connected=False)
        await self._resubscribe(connection)
        if connection is self._connection:
            self._mark_ready(opened)
        if previous is not None:
            self._start_task(self._close_replaced(previous), "nats replaced connection")

    def _mark_ready(self, opened: OpenedConnection) -> None:
        _LOG.info(
            "Connected to NATS.",
            server=opened.connection.server.url,
            encrypted=opened.connection.encrypted,
            credential=opened.credential.kind,
        )
        self._ready.set()
        self._notify_changed(connected=True)
        self._start_task(self._keep_alive(opened.connection), "nats keep alive")

    async def _resubscribe(self, connection: Connection) -> None:
        with suppress(CarrierDown):
            self._subscriptions.resubscribe(connection)
            self._subscriptions.check_permissions(connection, self._settings.required_permissions)
            await self._round_trip(connection)

    async def _round_trip(self, connection: Connection, max_idle: float = 0.0) -> None:
        """Make a round trip; cut a connection without progress. Raises CarrierDown."""
        await connection.round_trip(max_idle or self._settings.connect_timeout)

    async def _keep_alive(self, connection: Connection) -> None:
        """Ping for as long as the connection is in use, and check denied subjects again."""
        interval = self._settings.ping_interval
        started_at = time.monotonic()
        with suppress(CarrierDown):
            while connection is self._connection:
                await asyncio.sleep(interval)
                await self._round_trip(connection, 2 * interval)
                if time.monotonic() - started_at > _STABLE_AFTER:
                    self._connector.reset_backoff()
                if self._denials.all:
                    await self._recheck_denials(connection)

    async def _recheck_denials(self, connection: Connection) -> None:
        """Check whether denied subjects are permitted now; reconnect with changed credentials."""
        with suppress(CredentialError):
            if self._settings.read_credential() != self._credential:
                self._reconnect_needed.set()
                return
        self._subscriptions.resubscribe(connection, only_of=self._denials)
        self._subscriptions.check_permissions(connection, self._settings.required_permissions)
        await self._round_trip(connection)
        self._denials.forget(3 * self._settings.ping_interval)

    async def _close_replaced(self, connection: Connection) -> None:
        """Close a replaced connection after it delivered the messages that are on their way."""
        try:
            with suppress(CarrierDown):
                self._subscriptions.unsubscribe_all(connection)
                await self._round_trip(connection, _CLOSE_TIMEOUT)
        finally:
            connection.cut("replaced by another")

    async def _unsubscribe(self, entry: SubscriptionEntry) -> None:
        entry.leaving = True
        if (connection := self._connection) is not None:
            with suppress(CarrierDown):
                connection.send_unsub(entry.number)
                await self._round_trip(connection)
        self._subscriptions.remove(entry)

    def _start_task(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _cancel_tasks(self) -> None:
        while tasks := list(self._tasks):
            for task in tasks:
                task.cancel()  # more than once: nats-py and wait_for may swallow one
            await asyncio.wait(tasks, timeout=0.1)
