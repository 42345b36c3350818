"""Rendered resources and thumbnails (PS3.18 sections 10.4.1.1.3 and 10.4.1.1.4): PNG or JPEG.

Videos and encapsulated documents are returned in their own media type, by `streams`.

One image is the body itself, several are multipart. An instance of several frames is rendered as
its middle frame, a study or series as all its images, and their thumbnail as the middle image.
"""

import hashlib
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dimse_ingestion.dicom.frames import FrameNotFound, image_pixels
from dimse_ingestion.dicomweb.audit import note_access
from dimse_ingestion.dicomweb.http.conditional import is_unchanged
from dimse_ingestion.dicomweb.http.content_negotiation import (
    MediaType,
    accepted_types,
    choose_offer,
)
from dimse_ingestion.dicomweb.http.media_types import MULTIPART
from dimse_ingestion.dicomweb.http.multipart_writer import Part, ResponseHead, multipart_response
from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.dicomweb.http.urls import BASE_PATH, resource
from dimse_ingestion.dicomweb.retrieve import streams
from dimse_ingestion.dicomweb.retrieve.context import (
    RetrieveContext,
    caching_headers,
    entity_tag,
    object_missing_problem,
)
from dimse_ingestion.dicomweb.retrieve.frames import parse_frame_numbers
from dimse_ingestion.dicomweb.retrieve.render_parameters import (
    ignored_parameters,
    rendered_parameters,
    thumbnail_parameters,
)
from dimse_ingestion.dicomweb.retrieve.streams import rendered_type
from dimse_ingestion.operations.prefetch import prefetch
from dimse_ingestion.operations.retrieve import ObjectMissing
from dimse_ingestion.pixels.frame_job import check_size, frame_decode_job
from dimse_ingestion.pixels.jobs import JPEG, PNG, RenderParameters
from dimse_ingestion.queries.contract import Located

_STUDY = f"{BASE_PATH}/studies/{{study}}"
_SERIES = f"{_STUDY}/series/{{series}}"
_INSTANCE = f"{_SERIES}/instances/{{instance}}"
_FRAMES = f"{_INSTANCE}/frames/{{list}}"
_OFFERS = [JPEG, PNG, f'{MULTIPART}; type="{JPEG}"', f'{MULTIPART}; type="{PNG}"']
_CONCURRENT_RENDERS = 4
_MAX_CANDIDATES = 40  # the thumbnail of a large study needs only its first images
_MAX_IMAGES = 2000
_ParseParameters = Callable[[Mapping[str, str], str], RenderParameters]


@dataclass(frozen=True, slots=True)
class RenderedFrame:
    """A frame of an instance to render."""

    instance: Located
    number: int


def routes(context: RetrieveContext) -> Iterable[BaseRoute]:
    """Yield the routes of rendered resources and thumbnails."""
    for path in (_STUDY, _SERIES, _INSTANCE, _FRAMES):
        for name, parse_parameters in (
            ("rendered", rendered_parameters),
            ("thumbnail", thumbnail_parameters),
        ):
            yield Route(f"{path}/{name}", _answer(context, parse_parameters), methods=["GET"])


def _answer(
    context: RetrieveContext, parse_parameters: _ParseParameters
) -> Callable[[Request], object]:
    async def answer(request: Request) -> Response:
        instance = await _instance(context, request)
        is_whole = parse_parameters is rendered_parameters and "list" not in request.path_params
        if instance is not None and is_whole and rendered_type(instance):
            return await file_response(context, request, instance, accepted_types(request))
        offer = choose_offer(accepted_types(request), _OFFERS).offer
        render_parameters = parse_parameters(request.query_params, PNG if PNG in offer else JPEG)
        rendered_frames = await _frames_of(
            context, request, instance, is_single=render_parameters.is_thumbnail
        )
        headers = {
            **caching_headers(rendered_entity_tag(rendered_frames, render_parameters)),
            **_ignored_warning(request.query_params),
        }
        if is_unchanged(request, headers["etag"]):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        note_access(request, [each.instance.elements for each in rendered_frames])
        if len(rendered_frames) == 1 and not offer.startswith(MULTIPART):
            return await rendered_response(context, rendered_frames[0], render_parameters, headers)
        parts = _parts(context, request, rendered_frames, render_parameters)
        return await multipart_response(
            request, parts, render_parameters.media_type, ResponseHead(headers=headers)
        )

    return answer


async def _instance(context: RetrieveContext, request: Request) -> Located | None:
    """Return the instance of a resource, None for a study or series; raises Problem 404."""
    target = resource(request)
    return await context.instance(target) if target.instance else None


async def file_response(
    context: RetrieveContext, request: Request, instance: Located, ranges: Sequence[MediaType]
) -> Response:
    """Return a video or a document in its own media type; raises Problem."""
    offer = choose_offer(ranges, streams.offers(rendered_type(instance))).offer
    headers = caching_headers(entity_tag(instance, "whole"))
    if is_unchanged(request, headers["etag"]):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    note_access(request, [instance.elements])
    try:
        stream = await streams.open_stream(context, instance)
        is_multipart = offer.startswith(MULTIPART)
        return await streams.stream_response(request, stream, headers, is_multipart=is_multipart)
    except FrameNotFound as not_found:
        raise Problem(HTTPStatus.NOT_FOUND, str(not_found)) from None
    except ObjectMissing as missing:
        raise object_missing_problem(missing) from None


async def rendered_response(
    context: RetrieveContext,
    frame: RenderedFrame,
    render_parameters: RenderParameters,
    headers: Mapping[str, str],
) -> Response:
    """Return one rendered image as the body; raises Problem."""
    content = await _render(context, render_parameters, frame)
    return Response(content, headers=dict(headers), media_type=render_parameters.media_type)


def _check_is_image(instance: Located) -> None:
    """Raise Problem 406 for a video or a document, which is not rendered among images."""
    if rendered_type(instance):
        raise Problem(HTTPStatus.NOT_ACCEPTABLE, "It is a video or a document.")


def middle_frame(instance: Located) -> RenderedFrame:
    """Return the frame that represents an instance; raises Problem 406 unless it is an image."""
    try:
        number = image_pixels(instance.elements).middle_frame
    except FrameNotFound as not_found:
        raise Problem(
            HTTPStatus.NOT_ACCEPTABLE, f"{not_found} Retrieve it as application/dicom."
        ) from None
    return RenderedFrame(instance, number)


async def _frames_of(
    context: RetrieveContext, request: Request, instance: Located | None, *, is_single: bool
) -> Sequence[RenderedFrame]:
    """Return the frames that represent a resource; raises Problem."""
    target = resource(request)
    if instance is not None:
        if frames := request.path_params.get("list"):
            middle_frame(instance)
            numbers = parse_frame_numbers(frames)
            return [
                RenderedFrame(instance, number) for number in numbers[: 1 if is_single else None]
            ]
        return [middle_frame(instance)]
    maximum = _MAX_CANDIDATES if is_single else _MAX_IMAGES
    images = await _find_images(context, target.study, target.series, maximum)
    return [images[len(images) // 2]] if is_single else images


async def _find_images(
    context: RetrieveContext, study: str, series: str, maximum: int
) -> Sequence[RenderedFrame]:
    """Return the first images of a study or series, at most `maximum`; raises Problem."""
    images: list[RenderedFrame] = []
    others = 0
    async with aclosing(context.retriever.instances(study, series)) as instances:
        async for each in instances:
            try:
                _check_is_image(each)
                images.append(middle_frame(each))
            except Problem:
                others += 1
            if len(images) == maximum:
                break
    if images:
        return images
    if others:
        raise Problem(
            HTTPStatus.NOT_ACCEPTABLE, "It contains no image: retrieve it as application/dicom."
        )
    raise Problem(HTTPStatus.NOT_FOUND, "Nothing with these UIDs is stored here.")


async def _parts(
    context: RetrieveContext,
    request: Request,
    rendered_frames: Sequence[RenderedFrame],
    render_parameters: RenderParameters,
) -> AsyncGenerator[Part, None]:
    jobs = (partial(_render, context, render_parameters, each) for each in rendered_frames)
    remaining = iter(rendered_frames)
    async with aclosing(prefetch(jobs, _CONCURRENT_RENDERS)) as images:
        async for content in images:
            location = f"{context.instance_url(request, next(remaining).instance)}/rendered"
            yield Part(render_parameters.media_type, _single_chunk(content), location)


async def _single_chunk(content: bytes) -> AsyncGenerator[bytes, None]:
    yield content


async def _render(
    context: RetrieveContext, render_parameters: RenderParameters, frame: RenderedFrame
) -> bytes:
    instance = frame.instance
    try:
        (place,) = await context.frames.locate(instance, [frame.number])
        check_size(place.pixels)
        data = await context.frames.read_frame(place)
        elements = await context.frames.presentation_attributes(instance, frame.number)
    except FrameNotFound as not_found:
        raise Problem(HTTPStatus.NOT_FOUND, str(not_found)) from None
    except ObjectMissing as missing:
        raise object_missing_problem(missing) from None
    job = frame_decode_job(data, elements, place.pixels, instance.transfer_syntax_uid)
    return await context.decoders.render(job, render_parameters)


def rendered_entity_tag(
    rendered_frames: Sequence[RenderedFrame], render_parameters: RenderParameters
) -> str:
    """Return the entity tag of rendered frames and their parameters."""
    of = hashlib.sha256(repr(render_parameters).encode())
    for each in rendered_frames:
        of.update(f"{each.instance.sha256} {each.number}".encode())
    return entity_tag(rendered_frames[0].instance, of.hexdigest()[:16])


def _ignored_warning(parameters: Mapping[str, str]) -> Mapping[str, str]:
    names = ignored_parameters(parameters)
    if not names:
        return {}
    return {"warning": f'299 dicomweb "{" and ".join(names)} changed nothing: not supported."'}
