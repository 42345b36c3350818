"""Streamed responses of one part or of many parts (RFC 2387, PS3.18 section 8.6.1).

Parts are written as they arrive and never buffered. When a part fails after the response has
started, its status can't be changed any more: the body then ends without its last boundary and the
connection is closed, so that no client takes the response for complete.
"""

from collections.abc import AsyncGenerator, Mapping
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
from dimse_ingestion.operations.retrieve import ObjectMissing

_LOG = logger(__name__)


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
    content_type = f'multipart/related; type="{part_type}"; boundary={boundary}'
    if request.method == "HEAD":
        await parts.aclose()
        return _without_body(content_type, head)
    first = await anext(parts, None)
    if first is not None:
        chunks = _chain(await anext(first.chunks, b""), first.chunks)
        first = replace(first, chunks=chunks)
    body = _body(boundary, first, parts)
    return StreamedResponse(body, head.status, head.headers, media_type=content_type)


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
    body = _chain(await anext(part.chunks, b""), part.chunks)
    return StreamedResponse(body, head.status, headers, media_type=part.content_type)


def _without_body(content_type: str, head: ResponseHead) -> Response:
    response = Response(status_code=head.status, headers=dict(head.headers))
    if "content-length" not in head.headers:
        del response.headers["content-length"]
    response.headers["content-type"] = content_type
    return response


async def _chain(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(rest):
        yield first
        async for chunk in rest:
            yield chunk


async def _body(
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
    yield f"--{boundary}--\r\n".encode()


def _head(boundary: str, part: Part) -> bytes:
    location = f"Content-Location: {part.location}\r\n" if part.location else ""
    return f"--{boundary}\r\nContent-Type: {part.content_type}\r\n{location}\r\n".encode()


class StreamedResponse(StreamingResponse):
    """A streamed response that closes the connection when its body fails."""

    def __init__(
        self,
        content: AsyncGenerator[bytes, None],
        status_code: int,
        headers: Mapping[str, str],
        media_type: str,
    ) -> None:
        super().__init__(content, status_code, dict(headers))
        self.headers["content-type"] = media_type

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI; the server closes the connection when the last message is not sent."""
        try:
            await super().__call__(scope, receive, send)
        except (IncompleteResponse, Failure, Problem, ObjectMissing, FrameNotFound) as error:
            _LOG.warning("A response was broken off.", reason=str(error))
        finally:
            if isinstance(self.body_iterator, AsyncGenerator):
                await self.body_iterator.aclose()
