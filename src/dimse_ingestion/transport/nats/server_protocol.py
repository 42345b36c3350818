"""The parser of the NATS client protocol, for what a server sends.

nats-py's parser ends a field at any white space, and closes the connection at a line it does not
know. Subjects and replies may contain control characters and bytes that are not UTF-8, and any
publisher chooses them: one such message would disconnect every subscriber. This parser ends a
field at a blank, as the server writes it, and skips a message with an invalid subject.

A long body is received where it stays: `body_space` is the part of its bytes that is missing, and
whoever reads the socket writes there, so that the bytes are copied once, by the system.
"""

import asyncio
import io
import json
from typing import Any, Protocol

from nats.errors import Error as NatsError

_LINE_END = b"\r\n"
_MAX_LINE = 1024 * 1024  # bytes; an INFO names every server of a cluster
_MAX_MESSAGE = 64 * 1024 * 1024  # bytes: nats-server accepts no larger max_payload
_LONG_BODY = 32 * 1024  # bytes missing; a shorter rest is appended to the buffer
_MESSAGES_PER_TURN = 128
"""Messages after which other tasks may run, so that many small ones do not block the loop."""


class MalformedServerData(NatsError):
    """The server sent what the NATS client protocol does not have; the text says what."""


class MessageHandler(Protocol):
    """The callbacks for each protocol message."""

    def on_message(
        self, number: int, subject: bytes, reply: bytes, body: bytes, headers: bytes | None
    ) -> None:
        """Process a message for the subscription with this number."""

    def on_error(self, text: str) -> None:
        """Process an error."""

    def on_ping(self) -> None:
        """Answer a ping."""

    def on_pong(self) -> None:
        """Process the answer to a ping."""

    def on_info(self, info: dict[str, Any]) -> None:
        """Process what a server reports of itself."""


class Parser:
    """Parses the bytes of one connection and calls `handler`; replaces the parser of nats-py."""

    def __init__(self, handler: MessageHandler) -> None:
        self._handler = handler
        self.reset()

    def reset(self) -> None:
        """Drop a partly parsed message."""
        self._buffer = bytearray()
        self._fields: list[bytes] = []
        self._headers = self._total = self._number = 0
        self._header_block = b""
        self._body: _LongBody | None = None

    async def parse(self, data: bytes) -> None:
        """Parse the next bytes; other tasks run meanwhile. Raises MalformedServerData as `feed`."""
        while self.feed(data):
            data = b""
            await asyncio.sleep(0)

    def feed(self, data: bytes | memoryview) -> bool:
        """Parse the next bytes; return True if some are left for the next call, which may be empty.

        Raises MalformedServerData for data that no server sends.
        """
        self._buffer += self._collect(data) if self.body_space else data
        for _ in range(_MESSAGES_PER_TURN):
            while not self._fields:
                if not self._read_line():
                    return False
            if not self._read_message():
                return False
        return True

    @property
    def body_space(self) -> memoryview | None:
        """The bytes of a long body that are missing, to be written in order; None without one."""
        return self._body.space if self._body is not None and self._body.space else None

    def body_received(self, length: int) -> None:
        """Note that so many bytes of `body_space` were written."""
        if self._body is not None:
            self._body.advance(length)

    def _read_line(self) -> bool:
        """Parse one line; return whether it was complete."""
        end = self._buffer.find(_LINE_END)
        if end < 0:
            if len(self._buffer) > _MAX_LINE:
                raise MalformedServerData("it sent a line without an end")
            return False
        line = bytes(self._buffer[:end])
        del self._buffer[: end + len(_LINE_END)]
        verb, _, rest = line.partition(b" ")
        self._dispatch(verb.upper(), rest)
        return True

    def _dispatch(self, verb: bytes, rest: bytes) -> None:
        handler = self._handler
        if verb in (b"MSG", b"HMSG"):
            self._parse_message_head(rest.split(b" "), headers=verb == b"HMSG")
        elif verb == b"PING":
            handler.on_ping()
        elif verb == b"PONG":
            handler.on_pong()
        elif verb == b"-ERR":
            handler.on_error(rest.decode("utf-8", "replace").strip(" '"))
        elif verb == b"INFO":
            handler.on_info(_parsed_info(rest))
        elif verb != b"+OK":
            raise MalformedServerData("it sent a line that is not of the NATS protocol")

    def _parse_message_head(self, fields: list[bytes], *, headers: bool) -> None:
        """Parse the head of a message: subject, number, reply if any, and lengths."""
        sizes = 2 if headers else 1
        if not 2 + sizes <= len(fields) <= 3 + sizes:
            raise MalformedServerData("it sent a message with a wrong number of fields")
        try:
            lengths = [int(field) for field in fields[-sizes:]]
            self._number = int(fields[1])
        except ValueError:
            raise MalformedServerData("it sent a message without a number or length") from None
        self._headers, self._total = (lengths[0] if headers else 0), lengths[-1]
        if not 0 <= self._headers <= self._total <= _MAX_MESSAGE:
            raise MalformedServerData("it sent a message with an impossible length")
        self._fields = fields[:-sizes]

    def _read_message(self) -> bool:
        """Pass on one message; return whether it was complete."""
        if self.body_space or len(self._buffer) < self._length_left:
            self._start_long_body()
            return False
        if self._body is None:
            headers = bytes(self._buffer[: self._headers])
            body = bytes(memoryview(self._buffer)[self._headers : self._total])
        else:
            headers, body = self._header_block, self._body.content()
        del self._buffer[: self._length_left]
        subject, _, *reply = self._fields
        self._fields, self._body = [], None
        self._handler.on_message(
            self._number, subject, reply[0] if reply else b"", body, headers or None
        )
        return True

    @property
    def _length_left(self) -> int:
        """Return how many bytes the buffer must hold to complete the message."""
        return len(_LINE_END) + (0 if self._body is not None else self._total)

    def _start_long_body(self) -> None:
        """Give a long body its own bytes, of which the buffer has the beginning."""
        missing = self._total - len(self._buffer)
        if self._body is None and self._headers <= len(self._buffer) and missing > _LONG_BODY:
            self._header_block = bytes(self._buffer[: self._headers])
            self._body = _LongBody(self._total - self._headers)
            with memoryview(self._buffer) as beginning:
                self._collect(beginning[self._headers :])
            self._buffer.clear()

    def _collect(self, data: bytes | memoryview) -> bytes | memoryview:
        """Copy what belongs to the long body, and return the rest."""
        space = self.body_space
        if space is None:
            return data
        length = min(len(space), len(data))
        space[:length] = data[:length]
        self.body_received(length)
        return data[length:]


def _parsed_info(content: bytes) -> dict[str, Any]:
    try:
        info = json.loads(content)
    except ValueError:
        info = None
    if not isinstance(info, dict):
        raise MalformedServerData("it sent an INFO that is not a JSON object")
    return info


class _LongBody:
    """A body that is received in pieces into the bytes that it will be.

    `io.BytesIO` gives the bytes that it holds away without a copy, and writes into them through its
    buffer as long as nobody else has them.
    """

    def __init__(self, length: int) -> None:
        self._bytes = io.BytesIO(bytes(length))
        self.space = self._bytes.getbuffer()

    def advance(self, length: int) -> None:
        """Note that the first bytes of `space` were written."""
        self.space = self.space[length:]

    def content(self) -> bytes:
        """Return the body, after which `space` can't be used any more."""
        self.space = memoryview(b"")
        return self._bytes.getvalue()
