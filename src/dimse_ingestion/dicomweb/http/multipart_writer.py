"""Answers of many parts, or of one, streamed (RFC 2387, PS3.18 section 8.6.1).

Parts are written as they come and never held. A part that fails when the answer has begun can't be
told by a status any more: the body then ends without its last boundary and the connection with it,
so that no client takes it for whole.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.frames import NoFrame
from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.operations.retrieve import ObjectMissing

_LOG = logger(__name__)


class IncompleteResponse(Exception):
    """An answer that has begun and can't be ended; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its Content-Type, its bytes, and where it is had alone, if that is known."""

    content_type: str
    chunks: AsyncGenerator[bytes, None]
    location: str = ""


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """What stands before the parts: status, and headers."""

    status: int = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)


async def multipart_response(
    request: Request, parts: AsyncGenerator[Part, None], part_type: str, answer: ResponseHead
) -> Response:
    """Parts of one media type as multipart/related.

    The first part is begun before the answer is: what hinders it is raised to the caller.
    """
    boundary = uuid4().hex
    content_type = f'multipart/related; type="{part_type}"; boundary={boundary}'
    if request.method == "HEAD":
        await parts.aclose()
        return _only_head(content_type, answer)
    first = await anext(parts, None)
    if first is not None:
        begun = _following(await anext(first.chunks, b""), first.chunks)
        first = replace(first, chunks=begun)
    body = _written(boundary, first, parts)
    return StreamedResponse(body, answer.status, answer.headers, media_type=content_type)


async def single_response(
    request: Request, part: Part, length: int | None, answer: ResponseHead
) -> Response:
    """One part as the whole body; `length` in bytes where it is known."""
    headers = dict(answer.headers)
    if length is not None:
        headers["content-length"] = str(length)
    if part.location:
        headers["content-location"] = part.location
    answer = ResponseHead(answer.status, headers)
    if request.method == "HEAD":
        return _only_head(part.content_type, answer)
    body = _following(await anext(part.chunks, b""), part.chunks)
    return StreamedResponse(body, answer.status, headers, media_type=part.content_type)


def _only_head(content_type: str, answer: ResponseHead) -> Response:
    response = Response(status_code=answer.status, headers=dict(answer.headers))
    if "content-length" not in answer.headers:
        del response.headers["content-length"]
    response.headers["content-type"] = content_type
    return response


async def _following(
    first: bytes, rest: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    async with aclosing(rest):
        yield first
        async for chunk in rest:
            yield chunk


async def _written(
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
    """A streamed answer that ends the connection where its body breaks off."""

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
        """See ASGI; what returns without its last message is cut off by the server."""
        try:
            await super().__call__(scope, receive, send)
        except (IncompleteResponse, DimseFailure, Problem, ObjectMissing, NoFrame) as error:
            _LOG.warning("An answer broke off.", why=str(error))
        finally:
            if isinstance(self.body_iterator, AsyncGenerator):
                await self.body_iterator.aclose()
