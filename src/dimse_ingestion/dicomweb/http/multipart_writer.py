"""Streamed responses of one part or of many parts (RFC 2387, PS3.18 section 8.6.1).

Parts are written as they arrive; at most 1 MiB of one is buffered. When a part fails after the
response has started, its status can't be changed any more: the body then ends without its last
boundary and the connection is closed, so that no client takes the response for complete.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from dimse_ingestion.dicom.frames import FrameNotFound
from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.failures import Failure
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.observability.response_pieces import body_message
from dimse_ingestion.operations.retrieve import ObjectMissing

_LOG = logger(__name__)
_MOST_BUFFERED = 2**20  # bytes of a part that is sent with its length
_LEAST_WRITTEN = 2**19  # bytes that are written at once


class IncompleteResponse(Exception):
    """A response that has started can't be completed; the message gives the reason."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its Content-Type, its bytes, and its own URL, if it has one."""

    content_type: str
    chunks: AsyncGenerator[bytes, None]
    location: str = ""


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """The status and the headers of a response."""

    status: int = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)


async def multipart_response(
    request: Request, parts: AsyncGenerator[Part, None], part_type: str, head: ResponseHead
) -> Response:
    """Return a multipart/related response with parts of one media type.

    The first part is started before the response is, so that its errors are raised to the caller
    and can still change the status.
    """
    boundary = uuid4().hex
    content_type = _multipart_type(part_type, boundary)
    if request.method == "HEAD":
        await parts.aclose()
        return _without_body(content_type, head)
    first = await anext(parts, None)
    if first is not None:
        chunks = prepend([await anext(first.chunks, b"")], first.chunks)
        first = replace(first, chunks=chunks)
    body = _body(boundary, first, parts)
    return StreamedResponse(body, head.status, head.headers, media_type=content_type)


async def single_part_response(
    request: Request, part: Part, part_type: str, head: ResponseHead
) -> Response:
    """Return a multipart/related response with one part; a short one with Content-Length.

    Errors of a short part, and of the beginning of a long one, are raised to the caller.
    """
    boundary = uuid4().hex
    content_type = _multipart_type(part_type, boundary)
    if request.method == "HEAD":
        await part.chunks.aclose()
        return _without_body(content_type, head)
    first_chunks, is_whole = await read_beginning(part.chunks)
    if is_whole:
        body = [_head(boundary, part), *first_chunks, b"\r\n" + _end(boundary)]
        return WholeResponse(body, head, content_type)
    part = replace(part, chunks=prepend(first_chunks, part.chunks))
    stream = _body(boundary, part, _no_more_parts())
    return StreamedResponse(stream, head.status, head.headers, media_type=content_type)


async def single_response(
    request: Request, part: Part, length: int | None, head: ResponseHead
) -> Response:
    """Return a response that has one part as its body; `length` in bytes, None if unknown."""
    headers = dict(head.headers)
    if length is not None:
        headers["content-length"] = str(length)
    if part.location:
        headers["content-location"] = part.location
    head = ResponseHead(head.status, headers)
    if request.method == "HEAD":
        return _without_body(part.content_type, head)
    first_chunks, is_whole = await read_beginning(part.chunks)
    if is_whole and length in (None, sum(map(len, first_chunks))):
        return WholeResponse(first_chunks, head, part.content_type)
    body = prepend(first_chunks, part.chunks)
    return StreamedResponse(body, head.status, headers, media_type=part.content_type)


def _without_body(content_type: str, head: ResponseHead) -> Response:
    response = Response(status_code=head.status, headers=dict(head.headers))
    if "content-length" not in head.headers:
        del response.headers["content-length"]
    response.headers["content-type"] = content_type
    return response


async def read_beginning(
    chunks: AsyncGenerator[bytes, None], most: int = _MOST_BUFFERED
) -> tuple[list[bytes], bool]:
    """Read the first chunks up to `most` bytes; return them and whether they are all."""
    first_chunks: list[bytes] = []
    length = 0
    async for chunk in chunks:
        first_chunks.append(chunk)
        length += len(chunk)
        if length >= most:
            return first_chunks, False
    return first_chunks, True


async def prepend(
    first_chunks: Sequence[bytes], rest: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    """Yield the chunks that were read, and then the rest."""
    async with aclosing(rest):
        for chunk in first_chunks:
            yield chunk
        async for chunk in rest:
            yield chunk


async def _body(
    boundary: str, first: Part | None, parts: AsyncGenerator[Part, None]
) -> AsyncGenerator[list[bytes], None]:
    """Yield the body, some pieces at once, because each message costs much more than a piece."""
    async with aclosing(_pieces(boundary, first, parts)) as pieces:
        some: list[bytes] = []
        length = 0
        async for piece in pieces:
            some.append(piece)
            length += len(piece)
            if length >= _LEAST_WRITTEN:
                yield some
                some, length = [], 0
        yield some


async def _pieces(
    boundary: str, first: Part | None, parts: AsyncGenerator[Part, None]
) -> AsyncGenerator[bytes, None]:
    async with aclosing(parts):
        part = first
        while part is not None:
            yield _head(boundary, part)
            async with aclosing(part.chunks):
                async for chunk in part.chunks:
                    yield chunk
            yield b"\r\n"
            part = await anext(parts, None)
    yield _end(boundary)


async def _no_more_parts() -> AsyncGenerator[Part, None]:
    nothing: tuple[Part, ...] = ()
    for each in nothing:
        yield each


def _multipart_type(part_type: str, boundary: str) -> str:
    return f'multipart/related; type="{part_type}"; boundary={boundary}'


def _head(boundary: str, part: Part) -> bytes:
    location = f"Content-Location: {part.location}\r\n" if part.location else ""
    return f"--{boundary}\r\nContent-Type: {part.content_type}\r\n{location}\r\n".encode()


def _end(boundary: str) -> bytes:
    return f"--{boundary}--\r\n".encode()


class WholeResponse(Response):
    """A response with its length, whose body is sent in the pieces that it was read in."""

    def __init__(self, pieces: Sequence[bytes], head: ResponseHead, content_type: str) -> None:
        self._pieces = pieces
        length = str(sum(map(len, pieces)))
        headers = {"content-length": length, **head.headers, "content-type": content_type}
        super().__init__(None, head.status, headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """See ASGI."""
        start = "http.response.start"
        await send({"type": start, "status": self.status_code, "headers": self.raw_headers})
        await send(body_message(scope, self._pieces, more_body=False))


class StreamedResponse(StreamingResponse):
    """A streamed response that closes the connection when its body fails.

    The body is bytes, or lists of bytes that are sent together.
    """

    def __init__(
        self,
        content: AsyncGenerator[bytes, None] | AsyncGenerator[list[bytes], None],
        status_code: int,
        headers: Mapping[str, str],
        media_type: str,
    ) -> None:
        self._content = content
        super().__init__((), status_code, dict(headers))
        self.headers["content-type"] = media_type

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI; the server closes the connection when the last message is not sent."""
        self._scope = scope
        try:
            await super().__call__(scope, receive, send)
        except (IncompleteResponse, Failure, Problem, ObjectMissing, FrameNotFound) as error:
            _LOG.warning("A response was broken off.", reason=str(error))
        finally:
            await self._content.aclose()

    async def stream_response(self, send: Send) -> None:
        """Send the response; called by Starlette."""
        start = "http.response.start"
        await send({"type": start, "status": self.status_code, "headers": self.raw_headers})
        async for content in self._content:
            if isinstance(content, bytes):  # as `CompressionMiddleware` needs it
                await send({"type": "http.response.body", "body": content, "more_body": True})
            else:
                await send(body_message(self._scope, content, more_body=True))
        await send({"type": "http.response.body", "body": b"", "more_body": False})
