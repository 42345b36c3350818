"""Parsing of server messages: whole, byte by byte, and malformed."""

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nats.errors import ProtocolError

from dimse_ingestion.transport.nats.server_protocol import Parser
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

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None
    ) -> None:
        self.read.append(("message", sid, subject, reply, data, headers))

    async def _process_err(self, err_msg: str) -> None:
        self.read.append(("error", err_msg))

    async def _process_ping(self) -> None:
        self.read.append(("ping",))

    async def _process_pong(self) -> None:
        self.read.append(("pong",))

    async def _process_info(self, info: dict[str, Any]) -> None:
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
        b"\r\n",
        b"x" * 2_000_000,
    ],
)
async def test_a_line_that_no_server_sends_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        await parsed(line)


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_garbage_is_refused_and_nothing_else_is_raised(line: bytes) -> None:
    async def read() -> None:
        try:
            await parsed(line + b"\r\n")
        except (ProtocolError, ValueError):
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
