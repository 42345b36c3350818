"""An incremental parser of multipart bodies (RFC 2046 section 5.1, RFC 2387) that gives events.

It does no I/O and keeps no whole part in memory: `feed` takes bytes as they arrive and gives the
headers, content and end of parts. Preamble and epilogue are skipped. Blanks after a boundary and
folded header lines are read as MIME defines them. If the first boundary line ends with a bare line
feed, all lines do. `store.stow` interprets the parts.
"""

import re
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")  # RFC 2046 5.1.1
_MOST_HEADERS = 16
_LONGEST_HEADER = 8192  # bytes, of all headers of a part
_LONGEST_PADDING = 256  # bytes of blanks after a boundary
_BLANKS = b" \t"


class MalformedMultipart(ValueError):
    """The body is malformed or ends before its last boundary; the message says where."""


@dataclass(frozen=True, slots=True)
class PartHeaders:
    """A part begins; its headers by lower-case names."""

    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PartContent:
    """Some content of the part."""

    content: bytes


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The part is complete."""


Event = PartHeaders | PartContent | PartEnd


class _Line(Enum):
    """The meaning of a line with a boundary; MORE if more bytes are needed to decide."""

    PART = auto()
    CLOSE = auto()
    CONTENT = auto()
    MORE = auto()


class _State(Enum):
    PREAMBLE = auto()
    HEADERS = auto()
    CONTENT = auto()
    EPILOGUE = auto()


class MultipartReader:
    """Parses one body: feed all bytes in order, then finish. Raises MalformedMultipart."""

    def __init__(self, boundary: str) -> None:
        if not _BOUNDARY.fullmatch(boundary):
            raise MalformedMultipart(
                "The boundary of the multipart body is missing or malformed: give "
                'multipart/related; type="…"; boundary=… as Content-Type.'
            )
        self._dashes = b"--" + boundary.encode("ascii")
        self._delimiter = b"\n" + self._dashes  # becomes CRLF if the first boundary line ends so
        self._buffer = bytearray(b"\n")  # lets the first boundary match at the start of the body
        self._state = _State.PREAMBLE
        self._lead = 1  # bytes at the start of the buffer that are not of the body
        self._part = 0
        self._skipped = 0
        self._steps = {
            _State.PREAMBLE: self._read_to_boundary,
            _State.HEADERS: self._read_headers,
            _State.CONTENT: self._read_to_boundary,
            _State.EPILOGUE: self._read_epilogue,
        }

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield the events in `data`; lazily, so exhaust the iterator before the next call."""
        self._buffer += data
        has_more = True
        while has_more:
            has_more = yield from self._steps[self._state]()

    def finish(self) -> None:
        """Raise MalformedMultipart unless the last boundary has arrived."""
        if self._state is _State.EPILOGUE:
            return
        if self._state is _State.PREAMBLE and (self._skipped or self._holds_text()):
            raise self._malformed("the boundary that Content-Type names does not occur in it")
        raise MalformedMultipart(
            f"The multipart body ends {self._where}, without its last boundary: send it whole."
        )

    def _read_to_boundary(self) -> Generator[Event, None, bool]:
        """Yield the content up to the next boundary; return whether the boundary has arrived."""
        begin = 0
        while (place := self._buffer.find(self._delimiter, begin)) >= 0:
            line, end = self._line_after(place + len(self._delimiter))
            if line is _Line.CONTENT:
                begin = place + 1
                continue
            yield from self._content(place)
            if line is _Line.MORE:
                del self._buffer[:place]
                return False
            if self._state is _State.CONTENT:
                yield PartEnd()
            self._pass_boundary(line, end)
            return True
        safe = max(0, len(self._buffer) - len(self._delimiter) + 1)
        yield from self._content(safe)
        del self._buffer[:safe]
        return False

    def _content(self, end: int) -> Iterator[Event]:
        begin = min(self._lead, end)
        self._lead -= begin
        if self._state is _State.PREAMBLE:
            self._skipped += end - begin
        elif end > begin:
            yield PartContent(bytes(self._buffer[begin:end]))

    def _pass_boundary(self, line: _Line, end: int) -> None:
        if self._state is _State.PREAMBLE and self._buffer[:end].endswith(b"\r\n"):
            self._delimiter = b"\r\n" + self._dashes
        self._state = _State.EPILOGUE if line is _Line.CLOSE else _State.HEADERS
        self._part += line is _Line.PART
        self._lead = 0
        del self._buffer[:end]

    def _line_after(self, place: int) -> tuple[_Line, int]:
        """Return the meaning of a boundary's line, and the offset of the next line."""
        rest = bytes(self._buffer[place : place + _LONGEST_PADDING + 2])
        if rest[:2] == b"--":
            return _Line.CLOSE, place + 2
        blanks = len(rest) - len(rest.lstrip(_BLANKS))
        ending = rest[blanks : blanks + 2]
        if ending[:1] == b"\n":
            return _Line.PART, place + blanks + 1
        if ending == b"\r\n":
            return _Line.PART, place + blanks + 2
        is_cut = rest in (b"", b"-") or (blanks <= _LONGEST_PADDING and ending in (b"", b"\r"))
        return (_Line.MORE if is_cut else _Line.CONTENT), place

    def _read_headers(self) -> Generator[Event, None, bool]:
        """Yield the headers of the part; return whether all have arrived."""
        lines: list[bytes] = []
        begin = 0
        while (end := self._buffer.find(b"\n", begin, _LONGEST_HEADER)) >= 0:
            line = bytes(self._buffer[begin:end]).removesuffix(b"\r")
            begin = end + 1
            if not line:
                yield PartHeaders(self._headers(lines))
                self._state = _State.CONTENT
                del self._buffer[:begin]
                return True
            lines.append(line)
            if len(lines) > _MOST_HEADERS:
                raise self._malformed(f"its header count is more than {_MOST_HEADERS}")
        if len(self._buffer) >= _LONGEST_HEADER:
            raise self._malformed(f"its header size is more than {_LONGEST_HEADER} bytes")
        return False

    def _read_epilogue(self) -> Generator[Event, None, bool]:
        """Discard the bytes after the last boundary."""
        self._buffer.clear()
        yield from ()
        return False

    def _headers(self, lines: list[bytes]) -> dict[str, str]:
        headers: dict[str, str] = {}
        name = ""
        for line in lines:
            text = line.decode("latin-1")
            if text[0] in " \t" and name:
                headers[name] = f"{headers[name]} {text.strip()}".strip()
                continue
            name, colon, value = text.partition(":")
            name = name.strip().lower()
            if not colon or not name:
                raise self._malformed("a header line has no colon")
            headers[name] = value.strip()
        return headers

    @property
    def _where(self) -> str:
        return f"in part {self._part}" if self._part else "before its first part"

    def _holds_text(self) -> bool:
        """Return whether the buffer can't be the beginning of a boundary line."""
        return not self._delimiter.startswith(self._buffer[: len(self._delimiter)])

    def _malformed(self, reason: str) -> MalformedMultipart:
        return MalformedMultipart(f"The multipart body is malformed {self._where}: {reason}.")
