"""A multipart body (RFC 2046, RFC 2387) as events: a part begins, brings bytes, ends.

No I/O and no whole part in memory: bytes go in as they arrive, and what they complete comes out.
The parsing itself is python-multipart's; here its call-backs become values, and a body that is
cut short or broken becomes a sentence. What a part means is `stow`'s matter.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")  # RFC 2046 5.1.1
_MOST_HEADERS = 16
_LONGEST_HEADER = 8192


class MultipartBroken(ValueError):
    """A body that is no multipart, or ends before its last boundary; the sentence says where."""


@dataclass(frozen=True, slots=True)
class PartBegun:
    """The headers of a part, by lower-case names."""

    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PartBytes:
    """Some of its content."""

    content: bytes


@dataclass(frozen=True, slots=True)
class PartEnded:
    """The part is whole."""


Event = PartBegun | PartBytes | PartEnded


class MultipartReader:
    """One body; feed it all bytes in order, then finish it. Raises MultipartBroken."""

    def __init__(self, boundary: str) -> None:
        if not _BOUNDARY.fullmatch(boundary):
            raise MultipartBroken(
                "The boundary of the multipart body is missing or malformed: give "
                'multipart/related; type="…"; boundary=… as Content-Type.'
            )
        self._ended = False
        self._part = 0
        self._events: list[Event] = []
        self._name = bytearray()
        self._value = bytearray()
        self._headers: dict[str, str] = {}
        self._parser = MultipartParser(
            boundary.encode("ascii"),
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._keep_header,
                "on_headers_finished": self._tell_headers,
                "on_part_data": self._tell_bytes,
                "on_part_end": lambda: self._events.append(PartEnded()),
                "on_end": self._end,
            },
            max_header_count=_MOST_HEADERS,
            max_header_size=_LONGEST_HEADER,
        )

    def feed(self, data: bytes) -> Iterator[Event]:
        """What `data` begins, brings and completes; the epilogue is passed over."""
        if self._ended:
            return
        try:
            self._parser.write(data)
        except FormParserError as broken:
            where = f"in part {self._part}" if self._part else "before its first part"
            raise MultipartBroken(f"The multipart body is malformed {where}: {broken}.") from None
        events, self._events = self._events, []
        yield from events

    def finish(self) -> None:
        """Say that the body is over."""
        if not self._ended:
            where = f"in part {self._part}" if self._part else "before its first part"
            raise MultipartBroken(
                f"The multipart body ends {where}, without its last boundary: send it whole."
            )

    def _begin(self) -> None:
        self._part += 1
        self._headers = {}

    def _keep_header(self) -> None:
        name = self._name.decode("latin-1").lower()
        self._headers[name] = self._value.decode("latin-1").strip()
        self._name.clear()
        self._value.clear()

    def _tell_headers(self) -> None:
        self._events.append(PartBegun(self._headers))

    def _tell_bytes(self, data: bytes, start: int, end: int) -> None:
        if end > start:
            self._events.append(PartBytes(data[start:end]))

    def _end(self) -> None:
        self._ended = True
