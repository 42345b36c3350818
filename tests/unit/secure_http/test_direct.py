"""Requests on kept connections, against a server that answers with given bytes."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from dimse_ingestion.secure_http.connection import BrokenOff, Target
from dimse_ingestion.secure_http.direct import Connections, NotReached, parse_target

TLS = ssl.create_default_context()
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody"
UNTIL_THE_END = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nbody"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n"


class Peer:
    """Answers each request with the next of `answers`; an empty one closes the connection.

    `requests` has the requests of each connection. After an answer in `last` it is closed.
    """

    def __init__(self, answers: Sequence[bytes], last: Sequence[bytes] = ()) -> None:
        self._answers = iter(answers)
        self._last = last
        self.requests: list[list[bytes]] = []
        self.ended = asyncio.Event()
        self.closed_after_answer = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests.append([])
        own = self.requests[-1]
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                own.append(head + await reader.readexactly(length))
                answer = next(self._answers)
                writer.write(answer)
                await writer.drain()
                if not answer or answer in self._last:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            self.ended.set()
        finally:
            writer.close()
            self.closed_after_answer.set()


@asynccontextmanager
async def connected(
    peer: Peer, silence: float = 10, most: int = 4
) -> AsyncIterator[tuple[Connections, Target]]:
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connections = Connections(timeout=silence, most=most)
    try:
        yield connections, target_of(port)
    finally:
        connections.close()
        server.close()


def target_of(port: int) -> Target:
    target = parse_target(f"http://127.0.0.1:{port}/query/studies", {"source": "a b"})
    assert target is not None
    return target


async def posted(
    connections: Connections, target: Target, body: bytes = b"query"
) -> tuple[int, bytes]:
    async with connections.post(target, body, {"accept": "text/plain"}, TLS) as answer:
        return answer.status, await answer.read()


@pytest.mark.parametrize("answer", [OK, CHUNKED])
async def test_a_connection_is_kept_for_the_next_request(answer: bytes) -> None:
    peer = Peer([answer, answer])
    async with connected(peer) as (connections, target):
        assert await posted(connections, target, b"one") == (200, b"body")
        assert await posted(connections, target, b"two") == (200, b"body")
    (requests,) = peer.requests
    assert [each.rpartition(b"\r\n\r\n")[2] for each in requests] == [b"one", b"two"]
    line, host, *_ = requests[0].split(b"\r\n")
    assert line == b"POST /query/studies?source=a+b HTTP/1.1"
    assert host == f"host: {target.authority}".encode()


async def test_a_body_without_a_length_ends_with_the_connection() -> None:
    peer = Peer([UNTIL_THE_END, OK], last=[UNTIL_THE_END])
    async with connected(peer) as (connections, target):
        assert await posted(connections, target) == (200, b"body")
        assert await posted(connections, target) == (200, b"body")
    assert len(peer.requests) == 2


async def test_a_provisional_answer_is_none() -> None:
    peer = Peer([b"HTTP/1.1 102 Processing\r\n\r\n" + OK])
    async with connected(peer) as (connections, target):
        assert await posted(connections, target) == (200, b"body")


async def test_a_request_is_sent_again_when_the_idle_connection_was_closed() -> None:
    peer = Peer([OK, b"", OK])
    async with connected(peer) as (connections, target):
        await posted(connections, target)
        assert await posted(connections, target) == (200, b"body")
    assert [len(each) for each in peer.requests] == [2, 1]


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200", b"220 mail.example ESMTP\r\n", OK[:-1], CHUNKED[:-5]]
)
async def test_an_answer_that_is_broken_off_is_an_error(answer: bytes) -> None:
    peer = Peer([answer], last=[answer])
    async with connected(peer) as (connections, target):
        with pytest.raises(BrokenOff):
            await posted(connections, target)


async def test_a_peer_that_is_not_there_is_not_reached() -> None:
    with pytest.raises(NotReached) as raised:
        await posted(Connections(timeout=10, most=1), target_of(1))
    assert isinstance(raised.value.__cause__, ConnectionRefusedError)


@pytest.mark.parametrize("beginning", [b"HTTP/1.1 200 OK\r\n", OK[:-1]])
async def test_a_silent_peer_ends_in_a_timeout(beginning: bytes) -> None:
    async with connected(Peer([beginning]), silence=0.1) as (connections, target):
        with pytest.raises(TimeoutError):
            await posted(connections, target)


async def test_a_request_waits_for_a_connection_only_as_long_as_for_an_answer() -> None:
    async with (
        connected(Peer([OK]), silence=0.1, most=1) as (connections, target),
        connections.post(target, b"", {}, TLS),
    ):
        with pytest.raises(TimeoutError):
            await posted(connections, target)


async def test_leaving_an_answer_early_closes_the_connection() -> None:
    peer = Peer([OK[:-1]])
    async with connected(peer) as (connections, target):
        async with connections.post(target, b"", {}, TLS) as answer:
            assert await anext(answer.pieces()) == b"bod"
        await asyncio.wait_for(peer.ended.wait(), 60)


async def test_bytes_that_come_unasked_end_the_connection() -> None:
    peer = Peer([OK + OK.replace(b"body", b"else"), OK])
    async with connected(peer) as (connections, target):
        assert await posted(connections, target) == (200, b"body")
        assert await posted(connections, target) == (200, b"body")
    assert len(peer.requests) == 2


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://host/a", Target("http", "host", 80, "host", "/a?x=1%261")),
        ("https://host:8443", Target("https", "host", 8443, "host:8443", "/?x=1%261")),
        ("http://[::1]:80/a?b=c", Target("http", "::1", 80, "[::1]:80", "/a?b=c&x=1%261")),
        ("http://user:secret@host/", None),
        ("http://hôte/", None),
        ("http://host/a b", None),
        ("http://host/a\r\nb", None),
        ("http://host:99999/", None),
        ("http://[", None),
        ("http:///path", None),
        ("ftp://host/", None),
    ],
)
def test_only_a_plain_url_is_requested_directly(url: str, expected: Target | None) -> None:
    assert parse_target(url, {"x": "1&1"}) == expected


async def test_a_header_has_one_line() -> None:
    with pytest.raises(ValueError, match="line break"):
        async with Connections(timeout=1, most=1).post(target_of(1), b"", {"a": "b\nc: d"}, TLS):
            pass


async def test_a_reader_that_waits_makes_the_peer_wait() -> None:
    sent = 0

    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"%x\r\n%s\r\n" % (2**16, bytes(2**16)))
                await writer.drain()
                sent += 2**16
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(endless, "127.0.0.1", 0)
    connections = Connections(timeout=10, most=1)
    target = target_of(server.sockets[0].getsockname()[1])
    async with connections.post(target, b"", {}, TLS) as answer:
        assert await anext(answer.pieces())
        assert await is_steady(lambda: sent)
        assert sent < 64 * 2**20
    server.close()


async def is_steady(value: Callable[[], int]) -> bool:
    """Wait until the value does not change for a while."""
    before = -1
    while before != value():
        before = value()
        await asyncio.sleep(0.2)
    return True
