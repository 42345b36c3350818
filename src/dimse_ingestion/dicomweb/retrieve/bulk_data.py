"""Bulk data by the URLs in metadata (PS3.18 section 10.4.1.1.5), also by byte range.

A value is returned as in the data set, in little endian. Compressed pixel data is returned frame by
frame: stored frames as parts, or decoded frames concatenated. A video, and pixel data whose frames
cannot be separated, is one stream of all fragments. An encapsulated document is also returned in
its own media type.
"""

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dimse_ingestion.dicom.elements import Element, by_tag
from dimse_ingestion.dicom.frames import PIXEL_DATA, FrameNotFound
from dimse_ingestion.dicomweb.audit import note_access
from dimse_ingestion.dicomweb.http.conditional import is_unchanged
from dimse_ingestion.dicomweb.http.content_negotiation import accepted_types, choose_offer
from dimse_ingestion.dicomweb.http.media_types import (
    EXPLICIT,
    MULTIPART,
    OCTET_STREAM,
    FrameFormat,
    frame_format,
    is_native,
    is_video,
    stream_format,
)
from dimse_ingestion.dicomweb.http.multipart_writer import (
    Part,
    ResponseHead,
    multipart_response,
    single_response,
)
from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.dicomweb.http.ranges import ByteRange, byte_range
from dimse_ingestion.dicomweb.http.urls import BASE_PATH, resource
from dimse_ingestion.dicomweb.retrieve import frames, streams
from dimse_ingestion.dicomweb.retrieve.context import (
    RetrieveContext,
    caching_headers,
    entity_tag,
    object_missing_problem,
)
from dimse_ingestion.dicomweb.retrieve.streams import ENCAPSULATED_DOCUMENT, document_type
from dimse_ingestion.operations.retrieve import ObjectMissing
from dimse_ingestion.queries.contract import Located

_PATH = (
    f"{BASE_PATH}/studies/{{study}}/series/{{series}}/instances/{{instance}}/bulkdata/{{of:path}}"
)
_OFFERS = [f'{MULTIPART}; type="{OCTET_STREAM}"', OCTET_STREAM]


def routes(context: RetrieveContext) -> Iterable[BaseRoute]:
    """Yield the route of bulk data."""

    async def answer(request: Request) -> Response:
        instance = await context.instance(resource(request))
        path = request.path_params["of"].strip("/").upper().split("/")
        value = value_at(instance.elements, path)
        headers = caching_headers(entity_tag(instance, "bulkdata", "-".join(path)))
        if is_unchanged(request, headers["etag"]):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=dict(headers))
        note_access(request, [instance.elements])
        try:
            is_pixels = value.tag == PIXEL_DATA and len(path) == 1  # not those of an icon image
            if is_pixels and _is_encapsulated(instance, value):
                return await _frames_response(context, request, instance, headers)
            return await _value_response(context, request, instance, value, headers)
        except ObjectMissing as missing:
            raise object_missing_problem(missing) from None

    yield Route(_PATH, answer, methods=["GET"])


def _is_encapsulated(instance: Located, pixel_data: Element) -> bool:
    has_fragments = pixel_data.bulk is not None and pixel_data.bulk.fragments is not None
    return has_fragments or not is_native(instance.transfer_syntax_uid)


def value_at(elements: Iterable[Element], path: Sequence[str]) -> Element:
    """Return the element at a path of tags, with an item number from 1 after each sequence's tag.

    Raises Problem 404 when there is no such element or its value is not bulk data.
    """
    tag, *rest = path
    value = by_tag(elements).get(_parse_tag(tag))
    if value is not None and not rest and value.bulk is not None:
        return value
    if value is not None and len(rest) > 1 and value.items and rest[0].isdecimal():
        items = value.items[int(rest[0]) - 1 : int(rest[0])]
        if items:
            return value_at(items[0], rest[1:])
    raise Problem(
        HTTPStatus.NOT_FOUND, "The instance has no bulk data at this URL: see its metadata."
    )


def _parse_tag(tag: str) -> int:
    try:
        return int(tag, 16)
    except ValueError:
        return -1


async def _value_response(
    context: RetrieveContext,
    request: Request,
    instance: Located,
    value: Element,
    headers: dict[str, str],
) -> Response:
    document_media_type = document_type(instance) if value.tag == ENCAPSULATED_DOCUMENT else ""
    document_offers = streams.offers(document_media_type) if document_media_type else []
    offer = choose_offer(accepted_types(request), [*_OFFERS, *document_offers]).offer
    if offer in document_offers:
        stream = await streams.open_stream(context, instance)
        is_multipart = offer.startswith(MULTIPART)
        return await streams.stream_response(request, stream, headers, is_multipart=is_multipart)
    if offer != OCTET_STREAM:
        body = context.retriever.value(instance, value)
        parts = _single_part(Part(OCTET_STREAM, body, str(request.url)))
        return await multipart_response(request, parts, OCTET_STREAM, ResponseHead(headers=headers))
    length = value.bulk.length if value.bulk else 0
    headers["accept-ranges"] = "bytes"
    requested_range = byte_range(request, length, headers["etag"])
    if requested_range is not None:
        headers["content-range"] = requested_range.content_range
    effective_range = requested_range or ByteRange(0, length, length)
    body = context.retriever.value(instance, value, effective_range.offset, effective_range.length)
    answer = ResponseHead(HTTPStatus.PARTIAL_CONTENT if requested_range else HTTPStatus.OK, headers)
    return await single_response(request, Part(OCTET_STREAM, body), effective_range.length, answer)


async def _frames_response(
    context: RetrieveContext, request: Request, instance: Located, headers: dict[str, str]
) -> Response:
    """Return all frames of compressed pixel data, or all fragments of a video."""
    if is_video(instance.transfer_syntax_uid):
        return await _fragments_response(context, request, instance, headers)
    try:
        places = await context.frames.locate_all(instance)
    except FrameNotFound as not_found:
        try:
            return await _fragments_response(context, request, instance, headers)
        except (FrameNotFound, Problem):
            raise Problem(HTTPStatus.NOT_FOUND, str(not_found)) from None
    form = frame_format(accepted_types(request), instance.transfer_syntax_uid)
    bodies = frames.frame_contents(context, places, form)
    answer = ResponseHead(headers=headers)
    if form.is_multipart and form.transfer_syntax_uid != EXPLICIT:
        return await multipart_response(request, _parts(bodies, form), form.media_type, answer)
    part = Part(form.content_type, _concatenate(bodies))
    if form.is_multipart:
        return await multipart_response(request, _single_part(part), form.media_type, answer)
    return await single_response(request, part, None, answer)


async def _fragments_response(
    context: RetrieveContext, request: Request, instance: Located, headers: dict[str, str]
) -> Response:
    """Return all fragments of compressed pixel data as one stream; raises FrameNotFound."""
    form = stream_format(accepted_types(request), instance.transfer_syntax_uid)
    stream = await streams.open_fragments(context, instance)
    return await streams.stream_response(
        request,
        stream,
        headers,
        content_type=form.content_type,
        is_multipart=form.is_multipart,
    )


async def _parts(
    bodies: AsyncGenerator[AsyncGenerator[bytes, None], None], form: FrameFormat
) -> AsyncGenerator[Part, None]:
    async with aclosing(bodies):
        async for body in bodies:
            yield Part(form.content_type, body)


async def _concatenate(
    bodies: AsyncGenerator[AsyncGenerator[bytes, None], None],
) -> AsyncGenerator[bytes, None]:
    async with aclosing(bodies):
        async for body in bodies:
            async for chunk in body:
                yield chunk


async def _single_part(part: Part) -> AsyncGenerator[Part, None]:
    yield part
