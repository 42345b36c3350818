"""Frames of an instance (PS3.18 section 10.4.1.1.6): one small read each, whatever its length.

As they are stored, or decoded to octets, as Accept wants; several as multipart, one as either.
"""

import hashlib
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from functools import partial
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dimse_ingestion.dicom.frames import NoFrame
from dimse_ingestion.dicomweb.http.conditional import is_unchanged
from dimse_ingestion.dicomweb.http.content_negotiation import accepted_types
from dimse_ingestion.dicomweb.http.media_types import FrameFormat, frame_format, has_samples
from dimse_ingestion.dicomweb.http.multipart_writer import (
    Part,
    ResponseHead,
    multipart_response,
    single_response,
)
from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.dicomweb.http.urls import BASE_PATH, resource
from dimse_ingestion.dicomweb.pixels.decoder_pool import check_size, job
from dimse_ingestion.dicomweb.retrieve.context import Reading, entity_tag, gone, tagged
from dimse_ingestion.operations.frame_reading import FrameLocation
from dimse_ingestion.operations.prefetch import prefetch
from dimse_ingestion.operations.retrieve import ObjectMissing
from dimse_ingestion.queries.contract import Located

_PATH = f"{BASE_PATH}/studies/{{study}}/series/{{series}}/instances/{{instance}}/frames/{{list}}"
_MOST_FRAMES = 100_000
_FETCHED_AT_ONCE = 8
_DECODED_AT_ONCE = 4
_SMALL = 2 * 2**20
_SHORT = 32


def routes(reading: Reading) -> Iterable[BaseRoute]:
    """Where frames are had."""

    async def answer(request: Request) -> Response:
        wanted, numbers = resource(request), frame_numbers(request.path_params["list"])
        instance = await reading.one(wanted)
        ranges = accepted_types(request)
        form = frame_format(ranges, instance.transfer_syntax_uid, several=len(numbers) > 1)
        headers = tagged(entity_tag(instance, "frames", _digest(numbers), form.name))
        if is_unchanged(request, headers["etag"]):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=dict(headers))
        try:
            return await _frames(
                reading, request, instance, numbers, form, ResponseHead(headers=headers)
            )
        except NoFrame as none:
            raise Problem(HTTPStatus.NOT_FOUND, str(none)) from None
        except ObjectMissing as missing:
            raise gone(missing) from None

    yield Route(_PATH, answer, methods=["GET"])


def frame_numbers(text: str) -> list[int]:
    """The numbers of a list of frames; raises Problem 400."""
    pieces = text.split(",")
    if len(pieces) > _MOST_FRAMES or not all(
        each.isascii() and each.isdigit() and len(each) <= 9 for each in pieces
    ):
        raise Problem(
            HTTPStatus.BAD_REQUEST, "Frames are told by their numbers from 1, joined by commas."
        )
    return [int(each) for each in pieces]


def _digest(numbers: Sequence[int]) -> str:
    """Short whatever it is of."""
    text = ",".join(map(str, numbers))
    return text if len(text) <= _SHORT else hashlib.sha256(text.encode()).hexdigest()[:_SHORT]


async def _frames(
    reading: Reading,
    request: Request,
    instance: Located,
    numbers: Sequence[int],
    form: FrameFormat,
    answer: ResponseHead,
) -> Response:
    places = await reading.frames.locate(instance, numbers)
    bodies = frame_bodies(reading, places, form)
    base = f"{reading.location(request, instance)}/frames"
    if form.is_multipart:
        parts = _parts(bodies, places, form, base)
        return await multipart_response(request, parts, form.media_type, answer)
    length = None if is_decoding(form, instance) else places[0].length
    body = _none() if request.method == "HEAD" else await anext(bodies)
    return await single_response(request, Part(form.content_type, body), length, answer)


def is_decoding(form: FrameFormat, instance: Located) -> bool:
    """Whether frames must be decoded to be given so."""
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


async def frame_bodies(
    reading: Reading, places: Sequence[FrameLocation], form: FrameFormat
) -> AsyncGenerator[AsyncGenerator[bytes, None], None]:
    """The bytes of each frame, in order, small ones fetched or decoded ahead."""
    if is_decoding(form, places[0].located):
        check_size(places[0].pixels)
        jobs = (partial(_decoded, reading, place) for place in places)
        concurrency = _DECODED_AT_ONCE if places[0].pixels.native_bits < 8 * _SMALL * 4 else 1
    elif max(place.length for place in places) <= _SMALL:
        jobs = (partial(reading.frames.whole, place) for place in places)
        concurrency = _FETCHED_AT_ONCE
    else:
        for place in places:
            yield reading.frames.chunks(place)
        return
    async with aclosing(prefetch(jobs, concurrency)) as frames:
        async for frame in frames:
            yield _one(frame)


async def _decoded(reading: Reading, place: FrameLocation) -> bytes:
    instance = place.located
    frame = await reading.frames.whole(place)
    shown = await reading.frames.presentation_attributes(instance, place.number)
    return await reading.rendering.decoded(
        job(frame, shown, place.pixels, instance.transfer_syntax_uid)
    )


async def _one(frame: bytes) -> AsyncGenerator[bytes, None]:
    yield frame


async def _none() -> AsyncGenerator[bytes, None]:
    none: tuple[bytes, ...] = ()
    for each in none:
        yield each
