"""One connection to one NATS server, from its greeting to its end; it never reconnects.

nats-py does the greeting, TLS, the CONNECT and the parsing. What it does afterwards is replaced,
because it loses things: a reconnect that hangs for minutes, a pong nobody awaits that ends its
reading, queues that drop. Whoever holds a connection (`link`) opens a new one when told that this
is lost. The only module that knows nats-py's inside, together with `wires`.
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
    READ_SIZE,
    SocketWriter,
    abort,
    socket_writer_for,
)

_LOG = logger(__name__)
_UNSAFE_SUBJECT = re.compile(r"[\s\x00]")
_DENIED = re.compile(
    r"permissions violation for (?P<what>publish(?: with reply of)?|subscription)"
    r'(?: to)? "(?P<subject>[^"]+)"',
    re.IGNORECASE,
)


class PlaintextServer(Exception):
    """TLS was asked for and the server offers none; nothing was told to it."""


class MessageTooLarge(ValueError):
    """Body and headers are more than the server takes; it would have cut the connection."""


@dataclass(frozen=True, slots=True)
class Denial:
    """What the server did not let us do."""

    publish: bool
    subject: str

    def __str__(self) -> str:
        verb = "publish to" if self.publish else "subscribe to"
        return f"the NATS user may not {verb} {self.subject}"


class ConnectionListener(Protocol):
    """Who holds a connection; each is called at once, from within the reading."""

    def on_message(self, number: int, delivery: Delivery) -> None:
        """A message for the subscription of this number."""

    def on_lost(self, connection: "Connection", reason: str) -> None:
        """It has ended, once and for good."""

    def on_denied(self, denial: Denial) -> None:
        """The server refused a subject; the connection goes on."""

    def on_lame_duck(self, connection: "Connection") -> None:
        """The server is about to stop: go elsewhere within its grace."""


class Connection(Client):
    """One connection. `open` it, use it, and let the holder hear of its end."""

    def __init__(self, server: Server, listener: ConnectionListener) -> None:
        super().__init__()
        self._ps = Parser(self)  # type: ignore[assignment] # in the place of nats-py's
        self.server = server
        self.last_sign_of_life = 0.0
        self.refusal = ""
        self.connect_bytes = 0
        self._listener = listener
        self._writer: SocketWriter | None = None
        self._ended = False

    async def open(self, options: Mapping[str, Any]) -> None:
        """Greet, verify, prove who we are, and go there and back once.

        Raises OSError, TimeoutError, nats.errors.Error, aiohttp.ClientError or PlaintextServer;
        the caller bounds it in time, and calls `cut` whenever it didn't come to a good end.
        """
        await self.connect(
            servers=[self.server.url],
            allow_reconnect=False,
            error_cb=_ignore_error,
            lame_duck_mode_cb=self._lame_duck,
            skip_subject_validation=True,
            **options,
        )
        if self._writer is None:
            self._writer = self._new_writer()
        await self._request_pong()
        if self._ended:  # with the same bytes that brought the pong
            raise ConnectionResetError(self.refusal or "the server ended it")
        self._status = Client.CONNECTED

    @property
    def encrypted(self) -> bool:
        """Whether what we say can't be overheard."""
        return self._writer is not None and self._writer.encrypted

    def send(
        self, subject: str, body: bytes, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Publish, into the buffer. Raises CarrierDown, MessageTooLarge, or ValueError."""
        if _UNSAFE_SUBJECT.search(subject) or _UNSAFE_SUBJECT.search(reply) or not subject:
            raise ValueError(f"not a NATS subject: {subject!r} (reply {reply!r})")
        block = header_block.encode(headers) if headers else b""
        size = len(block) + len(body)
        if size > self._max_payload:
            raise MessageTooLarge(
                f"{size} bytes of body and headers for {subject}, and the server takes "
                f"{self._max_payload}: send smaller chunks, or raise its max_payload."
            )
        if block:
            head = f"HPUB {subject} {reply} {len(block)} {size}\r\n".encode() + block
        else:
            head = f"PUB {subject} {reply} {size}\r\n".encode()
        self._open_writer.write(head, body, b"\r\n")

    def send_sub(self, number: int, subject: str, queue: str = "") -> None:
        """Subscribe under a number of our own choice."""
        self._open_writer.write(f"SUB {subject} {queue} {number}\r\n".encode())

    def send_unsub(self, number: int) -> None:
        """Let a subscription go; what is on its way still comes, until the next round trip."""
        self._open_writer.write(f"UNSUB {number}\r\n".encode())

    async def round_trip(self, max_idle: float) -> None:
        """Go to the server and back, behind everything sent so far.

        Raises CarrierDown; the connection is cut when nothing at all comes or goes for `patience`
        seconds (a slow line with much on its way is not a dead one).
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
        """Wait until the buffer is below its high-water mark. Raises CarrierDown."""
        try:
            await self._open_writer.wait_writable()
        except OSError as trouble:
            raise CarrierDown(f"The connection to NATS broke: {trouble}") from None

    def cut(self, reason: str) -> None:
        """End it now; the holder is told, unless it was told before."""
        if self._ended:
            return
        self._ended = True
        self._status = Client.CLOSED
        self._abort()
        self._fail_round_trips(reason)
        self._listener.on_lost(self, reason)

    def _request_pong(self) -> asyncio.Future[bool]:
        """Send a PING; raises CarrierDown, now or when awaited."""
        pong: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._open_writer.write(b"PING\r\n")
        self._pongs.append(pong)
        return pong

    @property
    def _bytes_transferred(self) -> int:
        """Grows whenever anything comes or goes."""
        return self._open_writer.sent + int(self.stats["in_msgs"])

    @property
    def _open_writer(self) -> SocketWriter:
        if self._writer is None or self._ended:
            raise CarrierDown("The connection to NATS has ended.")
        return self._writer

    def _new_writer(self) -> SocketWriter:
        if self._transport is None:
            raise ConnectionResetError("the connection ended while it was opened")
        return socket_writer_for(self._transport, lambda trouble: self.cut(f"it broke: {trouble}"))

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
                pong.exception()  # whoever awaited it may be gone
        self._pongs.clear()

    async def _lame_duck(self) -> None:
        self._listener.on_lame_duck(self)

    # What follows replaces nats-py's own, by its names.

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
            while self._transport is not None and (data := await self._transport.read(READ_SIZE)):
                await self._ps.parse(data)
        except (OSError, NatsError) as trouble:
            reason = str(trouble)
        except Exception as trouble:  # noqa: BLE001 - a new connection is the cure, and it is logged
            _LOG.exception("What NATS sent could not be read.")
            reason = type(trouble).__name__
        finally:
            self.cut(self.refusal or reason)

    async def _ping_interval(self) -> None:
        """Nothing: whoever holds the connection asks for round trips."""

    async def _flusher(self) -> None:
        """Nothing: what is written is on its way."""

    async def _process_err(self, err_msg: str) -> None:
        if violation := _DENIED.search(err_msg):
            publish = violation["what"].lower().startswith("publish")
            self._listener.on_denied(Denial(publish, violation["subject"]))
            return
        self.refusal = err_msg
        self.cut(err_msg)

    async def _process_ping(self) -> None:
        if not self._ended:
            self._open_writer.write(b"PONG\r\n")

    async def _process_pong(self) -> None:
        self.last_sign_of_life = time.monotonic()
        if self._pongs and not (pong := self._pongs.pop(0)).done():
            pong.set_result(True)

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None
    ) -> None:
        fields = header_block.decode(headers) if headers else {}
        try:
            delivery = Delivery(subject.decode(), data, reply.decode(), fields)
        except UnicodeDecodeError:
            return  # no subject of ours, and no reply that could be answered to
        try:
            self._listener.on_message(sid, delivery)
        except Exception:  # noqa: BLE001 - reading must go on, and it is logged
            _LOG.exception("A message could not be taken.", subject=delivery.subject)


async def _ignore_error(_: Exception) -> None:
    """Errors reach the holder by `lost` and `denied`; nats-py's own log would name them twice."""
