"""One connection to one NATS server, from the handshake to its end; it never reconnects.

nats-py does the INFO, TLS and CONNECT handshake. What follows is replaced, because nats-py may hang
for minutes in a reconnect, may stop reading at a PONG that nobody awaits, and drops messages from
full queues. `client` opens a new connection when this one is lost. This module, `socket_reader` and
`socket_writer` are the only ones that use private parts of nats-py, which
tests/unit/transport/nats/test_connection.py lists.
"""

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from nats.aio.client import Client, Srv
from nats.errors import Error as NatsError

from dimse_ingestion.observability.logging import logger
from dimse_ingestion.transport.carrier import CarrierDown, Delivery
from dimse_ingestion.transport.nats import headers as header_block
from dimse_ingestion.transport.nats.server_protocol import Parser
from dimse_ingestion.transport.nats.server_urls import Server
from dimse_ingestion.transport.nats.socket_writer import (
    SocketWriter,
    abort,
    socket_writer_for,
)

_LOG = logger(__name__)
_ANY_LENGTH = 1  # a WebSocket gives whole frames
_UNSAFE_SUBJECT = re.compile(r"[\s\x00]")
_DENIED = re.compile(
    r"permissions violation for (?P<what>publish(?: with reply of)?|subscription)"
    r'(?: to)? "(?P<subject>[^"]+)"',
    re.IGNORECASE,
)


class PlaintextServer(Exception):
    """TLS is required and the server offers none; no credential was sent to it."""


class MessageTooLarge(ValueError):
    """Headers and body exceed the server's max_payload; it would have closed the connection."""


@dataclass(frozen=True, slots=True)
class Denial:
    """A publish or a subscription that the server denied."""

    publish: bool
    subject: str

    def __str__(self) -> str:
        verb = "publish to" if self.publish else "subscribe to"
        return f"the NATS user may not {verb} {self.subject}"


class ConnectionListener(Protocol):
    """The callbacks of a connection; each is called at once, within the read loop."""

    def on_message(self, number: int, delivery: Delivery) -> None:
        """Process a message for the subscription with this number."""

    def on_lost(self, connection: "Connection", reason: str) -> None:
        """Note the end of the connection; called once."""

    def on_denied(self, denial: Denial) -> None:
        """Note that the server denied a subject; the connection continues."""

    def on_lame_duck(self, connection: "Connection") -> None:
        """Note that the server shuts down after its grace period (lame duck mode)."""


class Connection(Client):
    """One connection; the listener is notified of its end."""

    def __init__(self, server: Server, listener: ConnectionListener) -> None:
        super().__init__()
        self._parser = Parser(self)
        self._ps = self._parser  # type: ignore[assignment] # replaces the parser of nats-py
        self._noting: set[asyncio.Task[None]] = set()
        self.server = server
        self.last_sign_of_life = 0.0
        self.refusal = ""
        self.connect_bytes = 0
        self._listener = listener
        self._writer: SocketWriter | None = None
        self._ended = False

    async def open(self, options: Mapping[str, Any]) -> None:
        """Connect, verify the server, authenticate, and make one round trip.

        Raises OSError, TimeoutError, nats.errors.Error, aiohttp.ClientError or PlaintextServer;
        the caller sets a timeout, and calls `cut` whenever opening failed.
        """
        try:
            await self.connect(
                servers=[self.server.url],
                allow_reconnect=False,
                error_cb=_ignore_error,
                lame_duck_mode_cb=self._lame_duck,
                skip_subject_validation=True,
                **options,
            )
        except RuntimeError as closed:  # of uvloop, for a write to a closed connection
            raise ConnectionResetError("the server ended it") from closed
        if self._writer is None:
            self._writer = self._new_writer()
        await self._request_pong()
        if self._ended:  # by an error in the same bytes as the PONG
            raise ConnectionResetError(self.refusal or "the server ended it")
        self._status = Client.CONNECTED

    @property
    def encrypted(self) -> bool:
        """Return whether the connection is encrypted."""
        return self._writer is not None and self._writer.encrypted

    def send(
        self, subject: str, body: bytes, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Write a message to the buffer. Raises CarrierDown, MessageTooLarge or ValueError."""
        if _UNSAFE_SUBJECT.search(subject) or _UNSAFE_SUBJECT.search(reply) or not subject:
            raise ValueError(f"not a NATS subject: {subject!r} (reply {reply!r})")
        block = header_block.encode(headers) if headers else b""
        size = len(block) + len(body)
        if size > self._max_payload:
            raise MessageTooLarge(
                f"{size} bytes of headers and body for {subject} exceed the server's "
                f"max_payload of {self._max_payload}: send smaller chunks, or raise max_payload."
            )
        if block:
            head = f"HPUB {subject} {reply} {len(block)} {size}\r\n".encode() + block
        else:
            head = f"PUB {subject} {reply} {size}\r\n".encode()
        self._open_writer.write(head, body, b"\r\n")

    def send_sub(self, number: int, subject: str, queue: str = "") -> None:
        """Subscribe under the given number."""
        self._open_writer.write(f"SUB {subject} {queue} {number}\r\n".encode())

    def send_unsub(self, number: int) -> None:
        """Unsubscribe; messages on their way are delivered until the next round trip."""
        self._open_writer.write(f"UNSUB {number}\r\n".encode())

    async def round_trip(self, max_idle: float) -> None:
        """Send a PING behind everything sent so far, and wait for its PONG.

        Raises CarrierDown. The connection is cut only when no byte at all is sent or received for
        `max_idle` seconds: a slow line with many bytes queued is not a dead one.
        """
        pong = self._request_pong()
        while not pong.done():
            previous = self._bytes_transferred
            await asyncio.wait([pong], timeout=max_idle)
            if pong.done():
                break
            if self._bytes_transferred == previous:
                self.cut(f"no answer to a ping within {max_idle:g} s")
                break
            self.last_sign_of_life = time.monotonic()
        await pong

    async def wait_writable(self) -> None:
        """Wait until the send buffer is below its high-water mark. Raises CarrierDown."""
        try:
            await self._open_writer.wait_writable()
        except OSError as error:
            raise CarrierDown(f"The connection to NATS broke: {error}") from None

    def cut(self, reason: str) -> None:
        """Close the connection now, and notify the listener once."""
        if self._ended:
            return
        self._ended = True
        self._status = Client.CLOSED
        self._abort()
        self._fail_round_trips(reason)
        self._listener.on_lost(self, reason)

    def _request_pong(self) -> asyncio.Future[bool]:
        """Send a PING and return its PONG; raises CarrierDown, now or when awaited."""
        pong: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._open_writer.write(b"PING\r\n")
        self._pongs.append(pong)
        return pong

    @property
    def _bytes_transferred(self) -> int:
        """Return a count that grows whenever anything is sent or received."""
        return self._open_writer.sent + int(self.stats["in_msgs"])

    @property
    def _open_writer(self) -> SocketWriter:
        if self._writer is None or self._ended:
            raise CarrierDown("The connection to NATS has ended.")
        return self._writer

    def _new_writer(self) -> SocketWriter:
        if self._transport is None:
            raise ConnectionResetError("the connection ended while it was opened")
        return socket_writer_for(self._transport, lambda error: self.cut(f"it broke: {error}"))

    def _abort(self) -> None:
        for task in (self._reading_task, self._ping_interval_task, self._flusher_task):
            if task is not None and task is not asyncio.current_task():
                task.cancel()
        if self._writer is not None:
            self._writer.abort()
        else:
            abort(self._transport)

    def _fail_round_trips(self, reason: str) -> None:
        for pong in self._pongs:
            if not pong.done():
                pong.set_exception(CarrierDown(f"The connection to NATS ended: {reason}"))
                pong.exception()  # marks it as retrieved: its caller may be gone
        self._pongs.clear()

    async def _lame_duck(self) -> None:
        self._listener.on_lame_duck(self)

    # The following methods replace those of nats-py, under the same names.

    async def _select_next_server(self) -> None:
        self._current_server = server = self._server_pool[0]
        await self._connect_to_server(Srv(server.uri))

    def _connect_command(self) -> bytes:
        self._writer = self._new_writer()
        if self.server.encrypted and not self._writer.encrypted:
            raise PlaintextServer
        command = super()._connect_command()
        self.connect_bytes = len(command)
        return command

    async def _read_loop(self) -> None:
        reason = "the server ended it"
        try:
            await self._read()
        except (OSError, NatsError) as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001 - a new connection follows, and it is logged
            _LOG.exception("Data from the NATS server could not be read.")
            reason = type(error).__name__
        finally:
            self.cut(self.refusal or reason)

    async def _read(self) -> None:
        """Read until the connection ends, or raise the error that ends it."""
        reader = self._writer.read_by(self._parser) if self._writer is not None else None
        if reader is not None:
            if (error := await reader.closed) is not None:
                raise error
            return
        while self._transport is not None and (data := await self._transport.read(_ANY_LENGTH)):
            await self._parser.parse(data)

    async def _ping_interval(self) -> None:
        """Do nothing: `client` calls `round_trip` instead."""

    async def _flusher(self) -> None:
        """Do nothing: `socket_writer` writes at once."""

    # callbacks of the parser

    def on_error(self, text: str) -> None:
        """Note a denied subject; end the connection at any other error."""
        if violation := _DENIED.search(text):
            publish = violation["what"].lower().startswith("publish")
            self._listener.on_denied(Denial(publish, violation["subject"]))
            return
        self.refusal = text
        self.cut(text)

    def on_ping(self) -> None:
        """Answer."""
        if not self._ended:
            self._open_writer.write(b"PONG\r\n")

    def on_pong(self) -> None:
        """End the oldest round trip."""
        self.last_sign_of_life = time.monotonic()
        if self._pongs and not (pong := self._pongs.pop(0)).done():
            pong.set_result(True)

    def on_info(self, info: dict[str, Any]) -> None:
        """Have nats-py note the servers of the cluster, and whether this one shuts down."""
        noting = asyncio.ensure_future(self._process_info(info))
        self._noting.add(noting)
        noting.add_done_callback(self._noting.discard)

    def on_message(
        self, number: int, subject: bytes, reply: bytes, body: bytes, headers: bytes | None
    ) -> None:
        """Deliver a message."""
        fields = header_block.decode(headers) if headers else {}
        try:
            delivery = Delivery(subject.decode(), body, reply.decode(), fields)
        except UnicodeDecodeError:
            return  # not a subject of ours, and no reply subject to answer to
        try:
            self._listener.on_message(number, delivery)
        except Exception:  # noqa: BLE001 - reading must continue, and it is logged
            _LOG.exception("A message could not be processed.", subject=delivery.subject)


async def _ignore_error(_: Exception) -> None:
    """Ignore an error, which nats-py would log: `on_lost` and `on_denied` report it."""
