"""Parsing of server messages: whole, byte by byte, and malformed."""

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dimse_ingestion.transport.nats.server_protocol import MalformedServerData, Parser
from tests.unit.transport.virtual_time import run_in_virtual_time

LINES = (
    b"MSG A.b 7 2\r\nhi\r\n"
    b"MSG A.b 8 R.x 0\r\n\r\n"
    b"HMSG A.b 9 R.x 12 14\r\nNATS/1.0\r\n\r\n\r\n\r\n"
    b"PING\r\nPONG\r\n+OK\r\n"
    b"-ERR 'Permissions Violation for Publish to \"A.B\"'\r\n"
    b'INFO {"max_payload": 5}\r\n'
)
READ = [
    ("message", 7, b"A.b", b"", b"hi", None),
    ("message", 8, b"A.b", b"R.x", b"", None),
    ("message", 9, b"A.b", b"R.x", b"\r\n", b"NATS/1.0\r\n\r\n"),
    ("ping",),
    ("pong",),
    ("error", 'Permissions Violation for Publish to "A.B"'),
    ("info", {"max_payload": 5}),
]


class Recording:
    """Record every parsed message."""

    def __init__(self) -> None:
        self.read: list[tuple[Any, ...]] = []

    def on_message(
        self, number: int, subject: bytes, reply: bytes, body: bytes, headers: bytes | None
    ) -> None:
        self.read.append(("message", number, subject, reply, body, headers))

    def on_error(self, text: str) -> None:
        self.read.append(("error", text))

    def on_ping(self) -> None:
        self.read.append(("ping",))

    def on_pong(self) -> None:
        self.read.append(("pong",))

    def on_info(self, info: dict[str, Any]) -> None:
        self.read.append(("info", info))


async def parsed(*pieces: bytes) -> list[tuple[Any, ...]]:
    recording = Recording()
    parser = Parser(recording)
    for piece in pieces:
        await parser.parse(piece)
    return recording.read


async def test_messages_of_a_server_are_parsed() -> None:
    assert await parsed(LINES) == READ


async def test_one_byte_at_a_time_changes_nothing() -> None:
    assert await parsed(*(LINES[at : at + 1] for at in range(len(LINES)))) == READ


LONG = bytes(range(256)) * 800
LONG_LINES = (
    LINES
    + b"MSG A.b 7 %d\r\n%b\r\n" % (len(LONG), LONG)
    + b"HMSG A.b 8 R.x 12 %d\r\nNATS/1.0\r\n\r\n%b\r\n" % (12 + len(LONG), LONG)
    + LINES
)
LONG_READ = [
    *READ,
    ("message", 7, b"A.b", b"", LONG, None),
    ("message", 8, b"A.b", b"R.x", LONG, b"NATS/1.0\r\n\r\n"),
    *READ,
]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.integers(0, len(LONG_LINES)), max_size=12))
def test_bytes_may_be_written_where_a_long_body_wants_them(cuts: list[int]) -> None:
    recording = Recording()
    parser = Parser(recording)
    direct = 0
    for start, end in itertools.pairwise([0, *sorted(cuts), len(LONG_LINES)]):
        piece = LONG_LINES[start:end]
        while piece:
            if (space := parser.body_space) is None:
                parser.feed(piece)
                break
            length = min(len(space), len(piece))
            space[:length] = piece[:length]
            parser.body_received(length)
            direct += length
            piece = piece[length:]
    assert recording.read == LONG_READ
    assert direct == 0 or direct <= 2 * len(LONG)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.integers(0, len(LONG_LINES)), max_size=12))
def test_long_messages_may_be_cut_anywhere(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(LONG_LINES)]

    async def read() -> None:
        pieces = [LONG_LINES[start:end] for start, end in itertools.pairwise(places)]
        assert await parsed(*pieces) == LONG_READ

    run_in_virtual_time(read())


@pytest.mark.parametrize("place", ["headers", "body", "line end"])
async def test_a_long_message_may_be_cut_by_one_byte_at_each_boundary(place: str) -> None:
    start = LONG_LINES.index(b"HMSG A.b 8")
    head = LONG_LINES.index(b"\r\n", start) + 2
    boundary = {"headers": head, "body": head + 12, "line end": head + 12 + len(LONG)}[place]
    for shift in (-1, 0, 1, 2):
        cut = boundary + shift
        assert await parsed(LONG_LINES[:cut], LONG_LINES[cut:]) == LONG_READ
        step = LONG_LINES[cut : cut + 1]
        assert await parsed(LONG_LINES[:cut], step, LONG_LINES[cut + 1 :]) == LONG_READ


async def test_a_reset_drops_a_long_message_in_part() -> None:
    recording = Recording()
    parser = Parser(recording)
    await parser.parse(LONG_LINES[len(LINES) : len(LINES) + 100_000])
    parser.reset()
    await parser.parse(LINES)
    assert recording.read == READ


@pytest.mark.parametrize(
    "name", [b"A.\x0bx", b"A.\x0cx", b"A.\rx", b"A.\xff", b"A.\x85", b"A.\x1c"]
)
async def test_a_subject_and_a_reply_may_have_any_bytes_but_blanks(name: bytes) -> None:
    line = b"MSG " + name + b" 7 " + name + b" 2\r\nhi\r\n"
    assert await parsed(line + b"PING\r\n") == [("message", 7, name, name, b"hi", None), ("ping",)]


@pytest.mark.parametrize(
    "line",
    [
        b"WHAT\r\n",
        b"MSG A 1\r\n",
        b"MSG A 1 R 2 3\r\n",
        b"MSG A 1 x\r\n",
        b"MSG A x 1\r\n",
        b"MSG A 1 -1\r\n",
        b"MSG A 1 99999999999\r\n",
        b"HMSG A 1 12 2\r\n",
        b"INFO [1]\r\n",
        b"INFO {\r\n",
        b"\r\n",
        b"x" * 2_000_000,
    ],
)
async def test_a_line_that_no_server_sends_is_refused_with_its_reason(line: bytes) -> None:
    with pytest.raises(MalformedServerData, match=r"^it sent an? "):
        await parsed(line)


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_garbage_is_refused_and_nothing_else_is_raised(line: bytes) -> None:
    async def read() -> None:
        try:
            await parsed(line + b"\r\n")
        except MalformedServerData:
            return

    run_in_virtual_time(read())


async def test_many_small_messages_let_other_tasks_run() -> None:
    recording = Recording()
    parser = Parser(recording)
    seen: list[int] = []

    async def others() -> None:
        while len(recording.read) < 10_000:
            seen.append(len(recording.read))
            await asyncio.sleep(0)

    await asyncio.gather(parser.parse(b"MSG A 1 0\r\n\r\n" * 10_000), others())
    assert max(after - before for before, after in itertools.pairwise(seen)) < 1000
