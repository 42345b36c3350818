"""The parser of the NATS client protocol, for what a server sends.

nats-py's parser ends a field at any white space, and closes the connection at a line it does not
know. Subjects and replies may contain control characters and bytes that are not UTF-8, and any
publisher chooses them: one such message would disconnect every subscriber. This parser ends a
field at a blank, as the server writes it, and skips a message with an invalid subject.
"""

import asyncio
import json
from typing import Any, Protocol

from nats.errors import ProtocolError

_LINE_END = b"\r\n"
_MAX_LINE = 1024 * 1024  # bytes; an INFO names every server of a cluster
_LONG_BODY = 32 * 1024  # bytes missing; a shorter rest is appended to the buffer
_MESSAGES_PER_TURN = 128
"""Messages after which other tasks may run, so that many small ones do not block the loop."""


class MessageHandler(Protocol):
    """The callbacks for each protocol message, under the names of nats-py."""

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None
    ) -> None: ...

    async def _process_err(self, err_msg: str) -> None: ...

    async def _process_ping(self) -> None: ...

    async def _process_pong(self) -> None: ...

    async def _process_info(self, info: dict[str, Any]) -> None: ...


class Parser:
    """Parses the bytes of one connection and calls `handler`; replaces the parser of nats-py."""

    def __init__(self, handler: MessageHandler) -> None:
        self._handler = handler
        self._messages = 0
        self.reset()

    def reset(self) -> None:
        """Drop a partly parsed message."""
        self._buffer = bytearray()
        self._fields: list[bytes] = []
        self._headers = self._total = 0
        self._header_block = b""
        self._pieces: list[bytes] = []  # of a long body, which is joined once
        self._missing = 0  # bytes of that body

    async def parse(self, data: bytes) -> None:
        """Parse the next bytes. Raises ProtocolError for data that no server sends."""
        self._buffer += self._collect(data) if self._missing else data
        while await (self._read_message() if self._fields else self._read_line()):
            pass

    async def _read_line(self) -> bool:
        """Parse one line; return whether it was complete."""
        end = self._buffer.find(_LINE_END)
        if end < 0:
            if len(self._buffer) > _MAX_LINE:
                raise ProtocolError("a line without an end")
            return False
        line = bytes(self._buffer[:end])
        del self._buffer[: end + len(_LINE_END)]
        verb, _, rest = line.partition(b" ")
        await self._dispatch(verb.upper(), rest)
        return True

    async def _dispatch(self, verb: bytes, rest: bytes) -> None:
        handler = self._handler
        if verb in (b"MSG", b"HMSG"):
            self._parse_message_head(rest.split(b" "), headers=verb == b"HMSG")
        elif verb == b"PING":
            await handler._process_ping()
        elif verb == b"PONG":
            await handler._process_pong()
        elif verb == b"-ERR":
            await handler._process_err(rest.decode("utf-8", "replace").strip(" '"))
        elif verb == b"INFO":
            await handler._process_info(json.loads(rest))
        elif verb != b"+OK":
            raise ProtocolError("a line that no server sends")

    def _parse_message_head(self, fields: list[bytes], *, headers: bool) -> None:
        """Parse the head of a message: subject, number, reply if any, and lengths."""
        sizes = 2 if headers else 1
        if not 2 + sizes <= len(fields) <= 3 + sizes:
            raise ProtocolError("a message with a wrong number of fields")
        try:
            lengths = [int(field) for field in fields[-sizes:]]
        except ValueError:
            raise ProtocolError("a message without a length") from None
        self._headers, self._total = (lengths[0] if headers else 0), lengths[-1]
        self._fields = fields[:-sizes]

    async def _read_message(self) -> bool:
        """Pass on one message; return whether it was complete."""
        if self._missing or len(self._buffer) < self._length_left:
            self._collect_long_body()
            return False
        headers, body = self._header_block, b"".join(self._pieces)
        if not self._pieces:
            headers = bytes(self._buffer[: self._headers])
            body = bytes(memoryview(self._buffer)[self._headers : self._total])
        del self._buffer[: self._length_left]
        subject, number, *reply = self._fields
        self._fields, self._pieces = [], []
        await self._handler._process_msg(
            int(number), subject, reply[0] if reply else b"", body, headers or None
        )
        await self._yield_to_others()
        return True

    @property
    def _length_left(self) -> int:
        """Return how many bytes the buffer must hold to complete the message."""
        return len(_LINE_END) + (0 if self._pieces else self._total)

    def _collect_long_body(self) -> None:
        """Collect the pieces of a long body, of which the buffer has the beginning."""
        missing = self._total - len(self._buffer)
        if not self._pieces and self._headers <= len(self._buffer) and missing > _LONG_BODY:
            self._header_block = bytes(self._buffer[: self._headers])
            self._pieces = [bytes(memoryview(self._buffer)[self._headers :])]
            self._missing = missing
            self._buffer.clear()

    def _collect(self, data: bytes) -> bytes:
        """Take what belongs to the long body, and return the rest."""
        piece, rest = data[: self._missing], data[self._missing :]
        self._pieces.append(piece)
        self._missing -= len(piece)
        return rest

    async def _yield_to_others(self) -> None:
        self._messages += 1
        if self._messages >= _MESSAGES_PER_TURN:
            self._messages = 0
            await asyncio.sleep(0)
