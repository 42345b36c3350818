"""Frames of an instance (PS3.18 section 10.4.1.1.6), each read by a small range request.

Frames are returned as stored or decoded to octets, as Accept requires; several frames are
multipart, a single one may be either.
"""

import hashlib
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from functools import partial
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dimse_ingestion.dicom.frames import FrameNotFound
from dimse_ingestion.dicomweb.audit import note_access
from dimse_ingestion.dicomweb.http.conditional import is_unchanged
from dimse_ingestion.dicomweb.http.content_negotiation import accepted_types
from dimse_ingestion.dicomweb.http.media_types import FrameFormat, frame_format, has_samples
from dimse_ingestion.dicomweb.http.multipart_writer import (
    Part,
    ResponseHead,
    multipart_response,
    single_part_response,
    single_response,
)
from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.dicomweb.http.urls import BASE_PATH, resource
from dimse_ingestion.dicomweb.retrieve.context import (
    RetrieveContext,
    caching_headers,
    entity_tag,
    object_missing_problem,
)
from dimse_ingestion.operations.frame_reader import FrameLocation
from dimse_ingestion.operations.prefetch import prefetch
from dimse_ingestion.operations.retrieve import ObjectMissing
from dimse_ingestion.pixels.frame_job import check_size, frame_decode_job
from dimse_ingestion.queries.contract import Located

_PATH = f"{BASE_PATH}/studies/{{study}}/series/{{series}}/instances/{{instance}}/frames/{{list}}"
_MAX_FRAMES = 100_000
_CONCURRENT_READS = 8
_CONCURRENT_DECODES = 4
_MAX_READ_AHEAD = 2 * 2**20
_DIGEST_LENGTH = 32


def routes(context: RetrieveContext) -> Iterable[BaseRoute]:
    """Yield the route of frames."""

    async def answer(request: Request) -> Response:
        target, numbers = resource(request), parse_frame_numbers(request.path_params["list"])
        instance = await context.instance(target)
        ranges = accepted_types(request)
        form = frame_format(ranges, instance.transfer_syntax_uid, several=len(numbers) > 1)
        headers = caching_headers(entity_tag(instance, "frames", _digest(numbers), form.name))
        if is_unchanged(request, headers["etag"]):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=dict(headers))
        note_access(request, [instance.elements])
        try:
            return await _frames_response(
                context, request, instance, numbers, form, ResponseHead(headers=headers)
            )
        except FrameNotFound as not_found:
            raise Problem(HTTPStatus.NOT_FOUND, str(not_found)) from None
        except ObjectMissing as missing:
            raise object_missing_problem(missing) from None

    yield Route(_PATH, answer, methods=["GET"])


def parse_frame_numbers(text: str) -> list[int]:
    """Return the numbers of a list of frames; raises Problem 400."""
    pieces = text.split(",")
    if len(pieces) > _MAX_FRAMES or not all(
        each.isascii() and each.isdigit() and len(each) <= 9 for each in pieces
    ):
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            "The list of frames must be numbers from 1, separated by commas.",
        )
    return [int(each) for each in pieces]


def _digest(numbers: Sequence[int]) -> str:
    """Return a short text that identifies the frame numbers, for an entity tag."""
    text = ",".join(map(str, numbers))
    return (
        text
        if len(text) <= _DIGEST_LENGTH
        else hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]
    )


async def _frames_response(
    context: RetrieveContext,
    request: Request,
    instance: Located,
    numbers: Sequence[int],
    form: FrameFormat,
    answer: ResponseHead,
) -> Response:
    places = await context.frames.locate(instance, numbers)
    bodies = frame_contents(context, places, form)
    base = f"{context.instance_url(request, instance)}/frames"
    if form.is_multipart:
        parts = _parts(bodies, places, form, base)
        if len(places) > 1 or request.method == "HEAD":
            return await multipart_response(request, parts, form.media_type, answer)
        async with aclosing(parts):
            part = await anext(parts)
            return await single_part_response(request, part, form.media_type, answer)
    length = None if is_decoding_required(form, instance) else places[0].length
    body = _no_chunks() if request.method == "HEAD" else await anext(bodies)
    return await single_response(request, Part(form.content_type, body), length, answer)


def is_decoding_required(form: FrameFormat, instance: Located) -> bool:
    """Tell whether stored frames must be decoded for this format."""
    stored = instance.transfer_syntax_uid
    return not has_samples(stored) and form.transfer_syntax_uid != stored


async def _parts(
    bodies: AsyncGenerator[AsyncGenerator[bytes, None], None],
    places: Sequence[FrameLocation],
    form: FrameFormat,
    base: str,
) -> AsyncGenerator[Part, None]:
    numbers = iter(places)
    async with aclosing(bodies):
        async for body in bodies:
            yield Part(form.content_type, body, f"{base}/{next(numbers).number}")


async def frame_contents(
    context: RetrieveContext, places: Sequence[FrameLocation], form: FrameFormat
) -> AsyncGenerator[AsyncGenerator[bytes, None], None]:
    """Yield the bytes of each frame in order; small frames are read or decoded ahead."""
    if is_decoding_required(form, places[0].located):
        check_size(places[0].pixels)
        jobs = (partial(_decode, context, place) for place in places)
        concurrency = (
            _CONCURRENT_DECODES if places[0].pixels.native_bits < 8 * _MAX_READ_AHEAD * 4 else 1
        )
    elif max(place.length for place in places) <= _MAX_READ_AHEAD:
        jobs = (partial(context.frames.read_frame, place) for place in places)
        concurrency = _CONCURRENT_READS
    else:
        for place in places:
            yield context.frames.chunks(place)
        return
    async with aclosing(prefetch(jobs, concurrency)) as frames:
        async for frame in frames:
            yield _single_chunk(frame)


async def _decode(context: RetrieveContext, place: FrameLocation) -> bytes:
    instance = place.located
    frame = await context.frames.read_frame(place)
    presentation = await context.frames.presentation_attributes(instance, place.number)
    return await context.decoders.decode(
        frame_decode_job(frame, presentation, place.pixels, instance.transfer_syntax_uid)
    )


async def _single_chunk(frame: bytes) -> AsyncGenerator[bytes, None]:
    yield frame


async def _no_chunks() -> AsyncGenerator[bytes, None]:
    nothing: tuple[bytes, ...] = ()
    for each in nothing:
        yield each
