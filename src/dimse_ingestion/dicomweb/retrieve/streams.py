"""Videos and encapsulated documents in their own media type (PS3.18 sections 8.7.4 and 8.7.3.5).

A video is all fragments of its pixel data, a document the value of Encapsulated Document. Each is
one body with its length, also by byte range, so that a browser can play or show it.
"""

from base64 import b64decode
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from dimse_ingestion.dicom.elements import SOP_CLASS_UID, Element, by_tag
from dimse_ingestion.dicomweb.http.media_types import MULTIPART, is_video, media_type_of
from dimse_ingestion.dicomweb.http.multipart_writer import (
    Part,
    ResponseHead,
    multipart_response,
    single_response,
)
from dimse_ingestion.dicomweb.http.ranges import ByteRange, byte_range
from dimse_ingestion.dicomweb.retrieve.context import RetrieveContext
from dimse_ingestion.queries.contract import Located

ENCAPSULATED_DOCUMENT = 0x00420011
_ENCAPSULATED_DOCUMENT_LENGTH = 0x00420015
_ENCAPSULATED = "1.2.840.10008.5.1.4.1.1.104"
_DOCUMENTS = {
    f"{_ENCAPSULATED}.1": "application/pdf",
    f"{_ENCAPSULATED}.2": "text/xml",
    f"{_ENCAPSULATED}.3": "model/stl",
    f"{_ENCAPSULATED}.4": "model/obj",
    f"{_ENCAPSULATED}.5": "model/mtl",
}
"""SOP class to media type: the media type in the object is not trusted, as browsers act on it."""

_NO_SCRIPTS = {
    "content-security-policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'",
    "x-content-type-options": "nosniff",
}
_Chunks = Callable[[int, int], AsyncGenerator[bytes, None]]


@dataclass(frozen=True, slots=True)
class Stream:
    """A body of `length` bytes; `chunks` reads a number of bytes from an offset."""

    media_type: str
    length: int
    chunks: _Chunks


def rendered_type(instance: Located) -> str:
    """Return the media type of a video or document, or an empty string for other instances."""
    if is_video(instance.transfer_syntax_uid):
        return media_type_of(instance.transfer_syntax_uid)
    return document_type(instance)


def document_type(instance: Located) -> str:
    """Return the media type of an encapsulated document, or an empty string."""
    elements_by_tag = by_tag(instance.elements)
    document, sop_class = (
        elements_by_tag.get(ENCAPSULATED_DOCUMENT),
        elements_by_tag.get(SOP_CLASS_UID),
    )
    if document is None or sop_class is None:
        return ""
    return _DOCUMENTS.get(sop_class.value.strip(" \0"), "")


async def open_stream(context: RetrieveContext, instance: Located) -> Stream:
    """Return an instance's video or document; raises FrameNotFound for an empty video."""
    if is_video(instance.transfer_syntax_uid):
        return await open_fragments(context, instance)
    elements_by_tag = by_tag(instance.elements)
    document = elements_by_tag[ENCAPSULATED_DOCUMENT]
    media_type, length = (
        document_type(instance),
        _document_length(document, elements_by_tag.get(_ENCAPSULATED_DOCUMENT_LENGTH)),
    )
    if document.bulk is not None:
        chunks: _Chunks = partial(context.retriever.value, instance, document)
        return Stream(media_type, length, chunks)
    return Stream(media_type, length, partial(_slice, b64decode(document.inline_binary or "")))


async def open_fragments(context: RetrieveContext, instance: Located) -> Stream:
    """Return all fragments of an instance's pixel data, concatenated; raises FrameNotFound."""
    fragments = await context.frames.fragments(instance)
    length = sum(size for _, size in fragments)
    media_type = media_type_of(instance.transfer_syntax_uid)
    return Stream(media_type, length, partial(context.frames.read_fragments, instance, fragments))


async def stream_response(
    request: Request,
    stream: Stream,
    headers: Mapping[str, str],
    *,
    content_type: str = "",
    is_multipart: bool = False,
) -> Response:
    """Return a stream as the body, as the requested range, or as the single part of multipart."""
    content_type = content_type or stream.media_type
    if stream.media_type == "text/xml":
        headers = {**headers, **_NO_SCRIPTS}
    if is_multipart:
        part = Part(content_type, stream.chunks(0, stream.length), str(request.url))
        part_type = content_type.partition(";")[0]
        return await multipart_response(
            request, _single_part(part), part_type, ResponseHead(headers=headers)
        )
    headers = {**headers, "accept-ranges": "bytes"}
    requested_range = byte_range(request, stream.length, headers["etag"])
    if requested_range is not None:
        headers["content-range"] = requested_range.content_range
    effective_range = requested_range or ByteRange(0, stream.length, stream.length)
    part = Part(content_type, stream.chunks(effective_range.offset, effective_range.length))
    return await single_response(
        request,
        part,
        effective_range.length,
        ResponseHead(HTTPStatus.PARTIAL_CONTENT if requested_range else HTTPStatus.OK, headers),
    )


def offers(media_type: str) -> list[str]:
    """Return the offers of a media type: by itself, and as the type of a part."""
    return [media_type, f'{MULTIPART}; type="{media_type}"']


def _document_length(document: Element, document_length: Element | None) -> int:
    """Return a document's length, without padding where its length is stored (PS3.3 C.24.2.1)."""
    stored = document.bulk.length if document.bulk else len(b64decode(document.inline_binary or ""))
    unpadded = document_length.value if document_length is not None else ""
    return stored - 1 if unpadded == str(stored - 1) else stored


async def _slice(value: bytes, offset: int, length: int) -> AsyncGenerator[bytes, None]:
    yield value[offset : offset + length]


async def _single_part(part: Part) -> AsyncGenerator[Part, None]:
    yield part
