"""NATS behind one class: the carrier that finds its way back, and says why when it can't.

Each connection is a fresh one (see `connection`); `Link` opens them one after the other, for
ever, with credentials and certificates read anew, listens again, and tells those who carry
operations at once when messages may have been lost. Counts and resends nothing itself.
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
_USUAL_PAYLOAD = 1024 * 1024
_LONG_ENOUGH = 10.0
"""Seconds a connection must hold for the next try to come soon."""
_FAREWELL = 2.0


class _Subscription:
    def __init__(self, link: "NatsClient", listening: SubscriptionEntry) -> None:
        self._link = link
        self._listening = listening

    async def drain(self) -> None:
        """Take no new message, hand over those on the way, then let go."""
        await self._link._let_go(self._listening)


class NatsClient:
    """A Carrier over NATS. `start` it, and `close` it; between, it needs no care.

    Raises AddressMistake when made with an address that can't be one.
    """

    def __init__(self, settings: NatsOptions) -> None:
        self._settings = settings
        self._connecting = Connector(settings)
        self._connection: Connection | None = None
        self._credential = Credential("no credential")
        self._generation = 0
        self._maximum_payload = _USUAL_PAYLOAD
        self._trouble = f"NATS at {self._connecting.server.url} has not been reached yet."
        self._denials = Denials()
        self._listenings = SubscriptionTable()
        self._changed: list[Callable[[bool], None]] = []
        self._ready = asyncio.Event()
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def connected(self) -> bool:
        """Whether it is unbroken, with a sign of life in the last three ping intervals (30 s)."""
        connection = self._connection
        if connection is None or not self._ready.is_set():
            return False
        return time.monotonic() - connection.last_sign_of_life <= 3 * self._settings.ping_interval

    @property
    def generation(self) -> int:
        """Counts connections: another number means that messages may have been lost between."""
        return self._generation

    @property
    def maximum_payload(self) -> int:
        """Bytes that body and headers may have together on this connection."""
        return self._maximum_payload

    @property
    def trouble(self) -> str:
        """Empty when healthy, else a sentence for an operator that says what is wrong."""
        if self._connection is None:
            return self._trouble
        if denied := self._denials.sentence:
            return denied
        return (
            ""
            if self.connected
            else connection_lost_message(self._connection.server, "no answer to a ping")
        )

    @property
    def denials(self) -> tuple[Denial, ...]:
        """Every subject that the server refuses us now."""
        return self._denials.all

    async def start(self) -> None:
        """Begin to connect, and return at once."""
        self._run(self._supervise(), "nats link")

    async def reached(self, seconds: float) -> None:
        """Wait for a connection. Raises CarrierDown with the trouble after so many seconds."""
        try:
            await asyncio.wait_for(self._ready.wait(), seconds)
        except TimeoutError:
            raise CarrierDown(self.trouble) from None

    def publish(
        self,
        subject: str,
        body: bytes,
        *,
        reply: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send one message: written to the connection's buffer, never waits.

        Raises CarrierDown when not connected, MessageTooLarge (a ValueError) above
        `maximum_payload`, and ValueError for a subject or a header that can't be one.
        """
        self._current().send(subject, body, reply, headers)

    async def wait_writable(self) -> None:
        """Wait until less than 2 MiB is unsent. Raises CarrierDown."""
        await self._current().drained()

    async def subscribe(
        self, subject: str, take: Callable[[Delivery], None], *, queue: str = ""
    ) -> _Subscription:
        """Listen, over all reconnects; when connected, the server knows of it afterwards.

        Raises ValueError for what can't be a subject.
        """
        listening = self._listenings.add(subject, queue, take)
        if (connection := self._connection) is not None:
            with suppress(CarrierDown):
                listening.ask(connection)
                await self._there_and_back(connection)
        return _Subscription(self, listening)

    def on_change(self, changed: Callable[[bool], None]) -> None:
        """Call `changed(connected)` at each disconnect and each reconnect, at once."""
        self._changed.append(changed)

    async def close(self) -> None:
        """Flush, then let go of the connection."""
        self._closing = True
        await self._end_tasks()
        if (connection := self._connection) is not None:
            with suppress(CarrierDown):
                await self._there_and_back(connection, _FAREWELL)
            connection.cut("closed by us")
        self._trouble = "The link to NATS is closed."

    def delivered(self, listening: int, delivery: Delivery) -> None:
        """A message came (Holder)."""
        self._listenings.deliver(listening, delivery)

    def lost(self, connection: Connection, reason: str) -> None:
        """A connection has ended (Holder)."""
        if connection is not self._connection:
            return
        self._connection = None
        self._ready.clear()
        self._trouble = connection_lost_message(connection.server, reason)
        self._wanted.set()
        if not self._closing:
            _LOG.warning("The connection to NATS was lost.", why=self._trouble)
        self._announce(connected=False)

    def denied(self, denial: Denial) -> None:
        """The server refused a subject (Holder)."""
        if self._denials.add(denial):
            _LOG.error("NATS denies us a subject; allow it in the user's permissions.", what=denial)

    def asked_to_leave(self, connection: Connection) -> None:
        """The server is about to stop (Holder)."""
        if connection is self._connection:
            _LOG.info("NATS is about to stop: going elsewhere.", server=connection.server.url)
            self._wanted.set()

    def _current(self) -> Connection:
        if self._connection is None:
            raise CarrierDown(self._trouble)
        return self._connection

    def _announce(self, *, connected: bool) -> None:
        for changed in self._changed:
            try:
                changed(connected)
            except Exception:  # noqa: BLE001 - the others must hear of it, and it is logged
                _LOG.exception("A change of the connection to NATS could not be told on.")

    async def _supervise(self) -> None:
        while not self._closing:
            await self._wanted.wait()
            await self._connecting.pause()
            try:
                await self._adopt(await self._connecting.open(self))
            except CarrierDown as trouble:
                self._not_opened(str(trouble))
            except Exception:  # noqa: BLE001 - reconnecting must go on, and it is logged
                self._connecting.failed()
                _LOG.exception("Connecting to NATS failed in an unforeseen way; it is tried again.")

    def _not_opened(self, sentence: str) -> None:
        self._connecting.failed()
        if sentence != self._trouble:
            _LOG.warning("NATS is not reached.", why=sentence)
        self._trouble = sentence

    async def _adopt(self, opened: OpenedConnection) -> None:
        connection = opened.connection
        before, self._connection = self._connection, connection
        self._wanted.clear()
        self._credential = opened.credential
        self._generation += 1
        self._maximum_payload = connection.max_payload
        self._denials.forget()
        if before is not None:
            self._ready.clear()
            self._announce(connected=False)
        await self._listen_again(connection)
        if connection is self._connection:
            self._settle(opened)
        if before is not None:
            self._run(self._retire(before), "nats link retiring")

    def _settle(self, opened: OpenedConnection) -> None:
        _LOG.info(
            "Connected to NATS.",
            server=opened.connection.server.url,
            encrypted=opened.connection.encrypted,
            credential=opened.credential.kind,
        )
        self._ready.set()
        self._announce(connected=True)
        self._run(self._tend(opened.connection), "nats link tending")

    async def _listen_again(self, connection: Connection) -> None:
        with suppress(CarrierDown):
            self._listenings.ask_again(connection)
            self._listenings.check(connection, self._settings.needs)
            await self._there_and_back(connection)

    async def _there_and_back(self, connection: Connection, patience: float = 0.0) -> None:
        """A round trip; a connection that shows no life for so long is cut. Raises CarrierDown."""
        await connection.round_trip(patience or self._settings.connect_timeout)

    async def _tend(self, connection: Connection) -> None:
        interval = self._settings.ping_interval
        began = time.monotonic()
        with suppress(CarrierDown):
            while connection is self._connection:
                await asyncio.sleep(interval)
                await self._there_and_back(connection, 2 * interval)
                if time.monotonic() - began > _LONG_ENOUGH:
                    self._connecting.succeeded()
                if self._denials.all:
                    await self._ask_again(connection)

    async def _ask_again(self, connection: Connection) -> None:
        """Find out whether what was denied is allowed by now; new credentials are tried."""
        with suppress(CredentialError):
            if self._settings.read_credential() != self._credential:
                self._wanted.set()
                return
        self._listenings.ask_again(connection, only_of=self._denials)
        self._listenings.check(connection, self._settings.needs)
        await self._there_and_back(connection)
        self._denials.forget(3 * self._settings.ping_interval)

    async def _retire(self, connection: Connection) -> None:
        """Let a replaced connection hand over what is on its way."""
        try:
            with suppress(CarrierDown):
                self._listenings.leave(connection)
                await self._there_and_back(connection, _FAREWELL)
        finally:
            connection.cut("replaced by another")

    async def _let_go(self, listening: SubscriptionEntry) -> None:
        listening.leaving = True
        if (connection := self._connection) is not None:
            with suppress(CarrierDown):
                connection.stop_listening(listening.number)
                await self._there_and_back(connection)
        self._listenings.remove(listening)

    def _run(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end_tasks(self) -> None:
        while tasks := list(self._tasks):
            for task in tasks:
                task.cancel()  # more than once: nats-py and wait_for may swallow one
            await asyncio.wait(tasks, timeout=0.1)
