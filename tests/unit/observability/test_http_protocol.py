"""What the HTTP server checks of a request's head, whatever the segments it arrives in."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from dimse_ingestion.observability import http_protocol
from dimse_ingestion.observability.http_protocol import HttpProtocol
from dimse_ingestion.observability.http_server import serve

_BODY = b"POST /echo HTTP/1.1\r\nhost: here\r\ncontent-length: 4\r\n"
_CHUNKED = (
    b"POST /echo HTTP/1.1\r\nhost: here\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n"
)


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async def echo(request: Request) -> Response:
        body = await request.body()
        return JSONResponse({"body": body.decode(), "headers": sorted(request.headers)})

    async with serve(
        Starlette(routes=[Route("/echo", echo, methods=["POST"])]), "127.0.0.1", 0
    ) as port:
        yield port


async def answers(port: int, *segments: bytes) -> bytes:
    """Send segments, then the end of the stream, and return all that is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for each in segments:
        writer.write(each)
        await writer.drain()
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        received = await reader.read()
    writer.close()
    return received


_LAST = b"POST /echo HTTP/1.1\r\nhost: here\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


@pytest.mark.parametrize(
    "segments",
    [
        [_BODY + b"\r\nbody"],
        [_BODY, b"\r\n", b"body"],
        [bytes([each]) for each in _BODY + b"\r\nbody"],
        [b"\r\n" + _BODY + b"\r\nbo", b"dy\r\n"],
        [_BODY + b"connection: upgrade\r\nupgrade: h2c\r\n\r\nbody"],
        [_CHUNKED + b"\r\n"],
    ],
    ids=["at-once", "in-parts", "in-bytes", "empty-lines", "upgrade", "chunked"],
)
async def test_a_body_is_read_whole_and_the_next_request_too(
    port: int, segments: list[bytes]
) -> None:
    received = await answers(port, *segments, _LAST)
    assert received.count(b"HTTP/1.1 200 OK") == 2
    assert b'"body":"body"' in received


async def test_two_requests_in_one_segment_are_answered_in_order(port: int) -> None:
    received = await answers(port, _BODY + b"\r\nbody" + _LAST)
    assert received.index(b'"body":"body"') < received.index(b'"body":""')


async def test_fields_of_a_trailer_are_no_headers(port: int) -> None:
    received = await answers(port, _CHUNKED + b"x-late: 1\r\n\r\n", _LAST)
    assert received.count(b"HTTP/1.1 200 OK") == 2
    assert b"x-late" not in received


@pytest.mark.parametrize(
    "head",
    [
        b"POST /echo HTTP/1.1\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nhost : a\r\n\r\n",
        b"CONNECT here:80 HTTP/1.1\r\nhost: here\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /\xff HTTP/1.1\r\nhost: a\r\n\r\n",
        b"POST http://[ HTTP/1.1\r\nhost: a\r\n\r\n",
    ],
    ids=[
        *("no-host", "two-hosts", "two-framings", "two-lengths", "space", "connect"),
        *("http-2", "no-ascii", "no-uri"),
    ],
)
async def test_an_invalid_head_is_a_problem_and_the_end(port: int, head: bytes) -> None:
    received = await answers(port, head, _LAST)
    assert received.startswith(b"HTTP/1.1 400 Bad Request")
    assert b"application/problem+json" in received
    assert received.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("before", [b"", _BODY + b"\r\nbody"], ids=["first", "pipelined"])
async def test_a_head_without_end_is_refused_before_it_fills_the_memory(
    port: int, before: bytes
) -> None:
    endless = b"POST /echo HTTP/1.1\r\nhost: a\r\nx: "
    received = await answers(port, before + endless, *[b"a" * 10_000] * 30)
    assert b"HTTP/1.1 400 Bad Request" in received


_NO_HTTP = b"no HTTP\r\n\r\n"
_NO_CHUNK = b"POST /echo HTTP/1.1\r\nhost: here\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n"


@pytest.mark.parametrize("whole", [1, 3])
@pytest.mark.parametrize("wrong", [_NO_HTTP, _NO_CHUNK], ids=["head", "body"])
@pytest.mark.parametrize("at_once", [True, False])
async def test_an_error_is_answered_behind_the_requests_before_it(
    port: int, whole: int, wrong: bytes, *, at_once: bool
) -> None:
    requests = [_BODY + b"\r\nbody"] * whole + [wrong]
    received = await answers(port, *([b"".join(requests)] if at_once else requests))
    statuses = [line for line in received.split(b"\r\n") if b"HTTP/1.1 " in line]
    assert [each[-15:] for each in statuses[:-1]] == [b"HTTP/1.1 200 OK"] * whole
    assert statuses[-1].endswith(b"HTTP/1.1 400 Bad Request")


async def test_a_body_that_breaks_has_one_answer(port: int) -> None:
    received = await answers(port, _NO_CHUNK)
    assert received.startswith(b"HTTP/1.1 400 Bad Request")
    assert received.count(b"HTTP/1.1 ") == 1
    answered = _NO_CHUNK.replace(b"/echo", b"/elsewhere")  # before its body arrives
    head, _, rest = answered.partition(b"\r\n\r\n")
    received = await answers(port, head + b"\r\n\r\n1\r\nx\r\n", *[b""] * 50, rest)
    assert received.startswith(b"HTTP/1.1 404 Not Found")
    assert received.count(b"HTTP/1.1 ") == 1


async def test_an_error_does_not_become_a_part_of_an_answer_that_has_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started, refused, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()
    refuse = HttpProtocol.send_400_response

    def send_400_response(protocol: HttpProtocol, reason: str) -> None:
        refuse(protocol, reason)
        refused.set()

    monkeypatch.setattr(HttpProtocol, "send_400_response", send_400_response)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        started.set()
        await go_on.wait()
        yield b"second"

    async def stream(_: Request) -> Response:
        return StreamingResponse(pieces(), headers={"content-length": "11"})

    app = Starlette(routes=[Route("/stream", stream)])
    async with serve(app, "127.0.0.1", 0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /stream HTTP/1.1\r\nhost: here\r\n\r\n")
        await started.wait()
        writer.write(_NO_HTTP)
        await refused.wait()
        go_on.set()
        async with asyncio.timeout(10):
            received = await reader.read()
        writer.close()
    head, _, rest = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert rest.startswith(b"firstsecondHTTP/1.1 400 Bad Request")


@pytest.mark.parametrize("sent", [b"", b"\r\n\r\n", b"POST /ec", _BODY + b"\r\nbodyPOST /ec"])
async def test_a_head_that_does_not_come_in_time_is_408(
    port: int, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "_HEAD_TIMEOUT", 0.2)
    received = await answers(port, sent)
    assert b"HTTP/1.1 408 Request Timeout" in received
