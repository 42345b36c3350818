"""Bulk data by the addresses that metadata gives (PS3.18 section 10.4.1.1.5), also in ranges.

The value as the data set holds it, in little endian. Compressed pixel data is its frames: as they
are stored as parts, or decoded, all after each other; of a video, and where nothing tells frames
apart, it is all fragments as one stream. A document is also given in its own media type.
"""

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dimse_ingestion.dicom.elements import Element, by_tag
from dimse_ingestion.dicom.frames import PIXEL_DATA, NoFrame
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
from dimse_ingestion.dicomweb.retrieve.context import Reading, entity_tag, gone, tagged
from dimse_ingestion.dicomweb.retrieve.streams import ENCAPSULATED_DOCUMENT, document_type
from dimse_ingestion.operations.retrieve import ObjectMissing
from dimse_ingestion.queries.contract import Located

_PATH = (
    f"{BASE_PATH}/studies/{{study}}/series/{{series}}/instances/{{instance}}/bulkdata/{{of:path}}"
)
_OFFERS = [f'{MULTIPART}; type="{OCTET_STREAM}"', OCTET_STREAM]


def routes(reading: Reading) -> Iterable[BaseRoute]:
    """Where bulk data is had."""

    async def answer(request: Request) -> Response:
        instance = await reading.one(resource(request))
        path = request.path_params["of"].strip("/").upper().split("/")
        value = value_at(instance.elements, path)
        headers = tagged(entity_tag(instance, "bulkdata", "-".join(path)))
        if is_unchanged(request, headers["etag"]):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=dict(headers))
        try:
            is_pixels = value.tag == PIXEL_DATA and len(path) == 1  # not of an icon
            if is_pixels and _is_encapsulated(instance, value):
                return await _compressed(reading, request, instance, headers)
            return await _plain(reading, request, instance, value, headers)
        except ObjectMissing as missing:
            raise gone(missing) from None

    yield Route(_PATH, answer, methods=["GET"])


def _is_encapsulated(instance: Located, pixel_data: Element) -> bool:
    has_fragments = pixel_data.bulk is not None and pixel_data.bulk.fragments is not None
    return has_fragments or not is_native(instance.transfer_syntax_uid)


def value_at(elements: Iterable[Element], path: Sequence[str]) -> Element:
    """The element at a path of tags and, after each sequence's, an item's number from 1.

    Raises Problem 404 when there is none whose value stands apart.
    """
    tag, *rest = path
    found = by_tag(elements).get(_hexadecimal(tag))
    if found is not None and not rest and found.bulk is not None:
        return found
    if found is not None and len(rest) > 1 and found.items and rest[0].isdecimal():
        items = found.items[int(rest[0]) - 1 : int(rest[0])]
        if items:
            return value_at(items[0], rest[1:])
    raise Problem(
        HTTPStatus.NOT_FOUND, "The instance has no bulk data at this address: see its metadata."
    )


def _hexadecimal(tag: str) -> int:
    try:
        return int(tag, 16)
    except ValueError:
        return -1


async def _plain(
    reading: Reading, request: Request, instance: Located, value: Element, headers: dict[str, str]
) -> Response:
    own = document_type(instance) if value.tag == ENCAPSULATED_DOCUMENT else ""
    more = streams.offers(own) if own else []
    offer = choose_offer(accepted_types(request), [*_OFFERS, *more]).offer
    if offer in more:
        stream = await streams.stream_of(reading, instance)
        is_multipart = offer.startswith(MULTIPART)
        return await streams.answer(request, stream, headers, is_multipart=is_multipart)
    if offer != OCTET_STREAM:
        body = reading.retrieving.value(instance, value)
        parts = _only(Part(OCTET_STREAM, body, str(request.url)))
        return await multipart_response(request, parts, OCTET_STREAM, ResponseHead(headers=headers))
    length = value.bulk.length if value.bulk else 0
    headers["accept-ranges"] = "bytes"
    asked = byte_range(request, length, headers["etag"])
    if asked is not None:
        headers["content-range"] = asked.content_range
    where = asked or ByteRange(0, length, length)
    body = reading.retrieving.value(instance, value, where.offset, where.length)
    answer = ResponseHead(HTTPStatus.PARTIAL_CONTENT if asked else HTTPStatus.OK, headers)
    return await single_response(request, Part(OCTET_STREAM, body), where.length, answer)


async def _compressed(
    reading: Reading, request: Request, instance: Located, headers: dict[str, str]
) -> Response:
    """All frames of compressed pixel data."""
    if is_video(instance.transfer_syntax_uid):
        return await _stream(reading, request, instance, headers)
    try:
        places = await reading.frames.locate_all(instance)
    except NoFrame as none:
        try:
            return await _stream(reading, request, instance, headers)
        except (NoFrame, Problem):
            raise Problem(HTTPStatus.NOT_FOUND, str(none)) from None
    form = frame_format(accepted_types(request), instance.transfer_syntax_uid)
    bodies = frames.frame_bodies(reading, places, form)
    answer = ResponseHead(headers=headers)
    if form.is_multipart and form.transfer_syntax_uid != EXPLICIT:
        return await multipart_response(request, _parts(bodies, form), form.media_type, answer)
    whole = Part(form.content_type, _joined(bodies))
    if form.is_multipart:
        return await multipart_response(request, _only(whole), form.media_type, answer)
    return await single_response(request, whole, None, answer)


async def _stream(
    reading: Reading, request: Request, instance: Located, headers: dict[str, str]
) -> Response:
    """All fragments of compressed pixel data; raises NoFrame."""
    form = stream_format(accepted_types(request), instance.transfer_syntax_uid)
    stream = await streams.joined_fragments(reading, instance)
    return await streams.answer(
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


async def _joined(
    bodies: AsyncGenerator[AsyncGenerator[bytes, None], None],
) -> AsyncGenerator[bytes, None]:
    async with aclosing(bodies):
        async for body in bodies:
            async for chunk in body:
                yield chunk


async def _only(part: Part) -> AsyncGenerator[Part, None]:
    yield part
