"""A multipart body (RFC 2046 section 5.1, RFC 2387) as events: a part begins, brings bytes, ends.

No I/O and no whole part in memory: bytes go in as they arrive, and what they complete comes out.
Preamble and epilogue are skipped, blanks after a boundary and folded header lines are read as MIME
has them. Where the first boundary line ends with a bare line feed, all lines do. What a part means
is decided by `stow`.
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
    """A body that is no multipart, or ends before its last boundary; the sentence says where."""


@dataclass(frozen=True, slots=True)
class PartHeaders:
    """The headers of a part, by lower-case names."""

    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PartContent:
    """Some of its content."""

    content: bytes


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The part is whole."""


Event = PartHeaders | PartContent | PartEnd


class _Line(Enum):
    """What follows a boundary: a part, nothing, or that it is no boundary; MORE to know it."""

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
    """One body; feed it all bytes in order, then finish it. Raises MultipartBroken."""

    def __init__(self, boundary: str) -> None:
        if not _BOUNDARY.fullmatch(boundary):
            raise MalformedMultipart(
                "The boundary of the multipart body is missing or malformed: give "
                'multipart/related; type="…"; boundary=… as Content-Type.'
            )
        self._dashes = b"--" + boundary.encode("ascii")
        self._delimiter = b"\n" + self._dashes  # its line end is known after the first one
        self._buffer = bytearray(b"\n")  # the first boundary may stand where no line has ended
        self._state = _State.PREAMBLE
        self._lead = 1  # bytes at the buffer's begin that did not come
        self._part = 0
        self._skipped = 0
        self._steps = {
            _State.PREAMBLE: self._read_to_boundary,
            _State.HEADERS: self._read_headers,
            _State.CONTENT: self._read_to_boundary,
            _State.EPILOGUE: self._read_epilogue,
        }

    def feed(self, data: bytes) -> Iterator[Event]:
        """Give what `data` begins, brings and completes, as far as it is asked for."""
        self._buffer += data
        going_on = True
        while going_on:
            going_on = yield from self._steps[self._state]()

    def finish(self) -> None:
        """Raise MultipartBroken unless the last boundary has come."""
        if self._state is _State.EPILOGUE:
            return
        if self._state is _State.PREAMBLE and (self._skipped or self._holds_text()):
            raise self._broken("the boundary that Content-Type names does not occur in it")
        raise MalformedMultipart(
            f"The multipart body ends {self._where}, without its last boundary: send it whole."
        )

    def _read_to_boundary(self) -> Generator[Event, None, bool]:
        """Give the content up to the next boundary; whether it has come."""
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
        """Return what a boundary's line ends with, and where the next line begins."""
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
        """Give the part's begin; whether its headers have all come."""
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
                raise self._broken(f"its header count is more than {_MOST_HEADERS}")
        if len(self._buffer) >= _LONGEST_HEADER:
            raise self._broken(f"its header size is more than {_LONGEST_HEADER} bytes")
        return False

    def _read_epilogue(self) -> Generator[Event, None, bool]:
        """Skip what follows the last boundary."""
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
                raise self._broken("a header line has no colon")
            headers[name] = value.strip()
        return headers

    @property
    def _where(self) -> str:
        return f"in part {self._part}" if self._part else "before its first part"

    def _holds_text(self) -> bool:
        """Whether what came last can't be the beginning of a boundary line."""
        return not self._delimiter.startswith(self._buffer[: len(self._delimiter)])

    def _broken(self, why: str) -> MalformedMultipart:
        return MalformedMultipart(f"The multipart body is malformed {self._where}: {why}.")
