"""Rendered resources and thumbnails (PS3.18 sections 10.4.1.1.3 and 10.4.1.1.4): PNG or JPEG.

A video and an encapsulated document are given as they are, by `streams`.

One picture as it is, several as multipart. An instance of several frames is shown by its middle
one, a study or a series by all its images, their thumbnail by the image in the middle.
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

from dimse_ingestion.dicom.frames import NoFrame, image_pixels
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
from dimse_ingestion.dicomweb.pixels.decoder_pool import check_size, job
from dimse_ingestion.dicomweb.pixels.render_parameters import (
    JPEG,
    PNG,
    View,
    ignored,
    rendered_view,
    thumbnail_view,
)
from dimse_ingestion.dicomweb.retrieve import streams
from dimse_ingestion.dicomweb.retrieve.context import Reading, entity_tag, gone, tagged
from dimse_ingestion.dicomweb.retrieve.frames import frame_numbers
from dimse_ingestion.dicomweb.retrieve.streams import rendered_type
from dimse_ingestion.operations.prefetch import prefetch
from dimse_ingestion.operations.retrieve import ObjectMissing
from dimse_ingestion.queries.contract import Located

_STUDY = f"{BASE_PATH}/studies/{{study}}"
_SERIES = f"{_STUDY}/series/{{series}}"
_INSTANCE = f"{_SERIES}/instances/{{instance}}"
_FRAMES = f"{_INSTANCE}/frames/{{list}}"
_OFFERS = [JPEG, PNG, f'{MULTIPART}; type="{JPEG}"', f'{MULTIPART}; type="{PNG}"']
_AT_ONCE = 4
_ENOUGH_TO_CHOOSE = 40  # that one may stand for a study of thousands
_MOST_IMAGES = 2000
_Views = Callable[[Mapping[str, str], str], View]


@dataclass(frozen=True, slots=True)
class Shown:
    """A frame of an instance that is to be pictured."""

    instance: Located
    number: int


def routes(reading: Reading) -> Iterable[BaseRoute]:
    """Where pictures are had."""
    for path in (_STUDY, _SERIES, _INSTANCE, _FRAMES):
        for name, views in (("rendered", rendered_view), ("thumbnail", thumbnail_view)):
            yield Route(f"{path}/{name}", _answer(reading, views), methods=["GET"])


def _answer(reading: Reading, views: _Views) -> Callable[[Request], object]:
    async def answer(request: Request) -> Response:
        instance = await _instance(reading, request)
        is_whole = views is rendered_view and "list" not in request.path_params
        if instance is not None and is_whole and rendered_type(instance):
            return await whole(reading, request, instance, accepted_types(request))
        offer = choose_offer(accepted_types(request), _OFFERS).offer
        view = views(request.query_params, PNG if PNG in offer else JPEG)
        shown = await _shown(reading, request, instance, is_one=view.is_thumbnail)
        headers = {**tagged(tag_of(shown, view)), **_warning(request.query_params)}
        if is_unchanged(request, headers["etag"]):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        if len(shown) == 1 and not offer.startswith(MULTIPART):
            return await picture(reading, shown[0], view, headers)
        parts = _parts(reading, request, shown, view)
        return await multipart_response(
            request, parts, view.media_type, ResponseHead(headers=headers)
        )

    return answer


async def _instance(reading: Reading, request: Request) -> Located | None:
    """The instance a resource is of, None for a study or a series; raises Problem 404."""
    wanted = resource(request)
    return await reading.one(wanted) if wanted.instance else None


async def whole(
    reading: Reading, request: Request, instance: Located, ranges: Sequence[MediaType]
) -> Response:
    """A video or a document as it is; raises Problem."""
    offer = choose_offer(ranges, streams.offers(rendered_type(instance))).offer
    headers = tagged(entity_tag(instance, "whole"))
    if is_unchanged(request, headers["etag"]):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    try:
        stream = await streams.stream_of(reading, instance)
        is_multipart = offer.startswith(MULTIPART)
        return await streams.answer(request, stream, headers, is_multipart=is_multipart)
    except NoFrame as none:
        raise Problem(HTTPStatus.NOT_FOUND, str(none)) from None
    except ObjectMissing as missing:
        raise gone(missing) from None


async def picture(
    reading: Reading, shown: Shown, view: View, headers: Mapping[str, str]
) -> Response:
    """One picture as the whole body; raises Problem."""
    content = await _pictured(reading, view, shown)
    return Response(content, headers=dict(headers), media_type=view.media_type)


def _check_image(instance: Located) -> None:
    """Raise Problem 406 for a video or a document: among images it is shown by none."""
    if rendered_type(instance):
        raise Problem(HTTPStatus.NOT_ACCEPTABLE, "It is a video or a document.")


def middle_frame(instance: Located) -> Shown:
    """What an instance is shown by; raises Problem 406 for one that is no image."""
    try:
        number = image_pixels(instance.elements).middle_frame
    except NoFrame as none:
        raise Problem(
            HTTPStatus.NOT_ACCEPTABLE, f"{none} Retrieve it as application/dicom."
        ) from None
    return Shown(instance, number)


async def _shown(
    reading: Reading, request: Request, instance: Located | None, *, is_one: bool
) -> Sequence[Shown]:
    """The frames that a resource is shown by; raises Problem."""
    wanted = resource(request)
    if instance is not None:
        if frames := request.path_params.get("list"):
            middle_frame(instance)
            numbers = frame_numbers(frames)
            return [Shown(instance, number) for number in numbers[: 1 if is_one else None]]
        return [middle_frame(instance)]
    most = _ENOUGH_TO_CHOOSE if is_one else _MOST_IMAGES
    images = await _images(reading, wanted.study, wanted.series, most)
    return [images[len(images) // 2]] if is_one else images


async def _images(reading: Reading, study: str, series: str, most: int) -> Sequence[Shown]:
    """The first images of a study or series, at most `most`; raises Problem."""
    found: list[Shown] = []
    others = 0
    async with aclosing(reading.retrieving.instances(study, series)) as instances:
        async for each in instances:
            try:
                _check_image(each)
                found.append(middle_frame(each))
            except Problem:
                others += 1
            if len(found) == most:
                break
    if found:
        return found
    if others:
        raise Problem(
            HTTPStatus.NOT_ACCEPTABLE, "There is no image in it: retrieve it as application/dicom."
        )
    raise Problem(HTTPStatus.NOT_FOUND, "Nothing with these UIDs is stored here.")


async def _parts(
    reading: Reading, request: Request, shown: Sequence[Shown], view: View
) -> AsyncGenerator[Part, None]:
    jobs = (partial(_pictured, reading, view, each) for each in shown)
    of = iter(shown)
    async with aclosing(prefetch(jobs, _AT_ONCE)) as pictures:
        async for content in pictures:
            location = f"{reading.location(request, next(of).instance)}/rendered"
            yield Part(view.media_type, _one(content), location)


async def _one(content: bytes) -> AsyncGenerator[bytes, None]:
    yield content


async def _pictured(reading: Reading, view: View, shown: Shown) -> bytes:
    instance = shown.instance
    try:
        (place,) = await reading.frames.locate(instance, [shown.number])
        check_size(place.pixels)
        frame = await reading.frames.whole(place)
        elements = await reading.frames.presentation_attributes(instance, shown.number)
    except NoFrame as none:
        raise Problem(HTTPStatus.NOT_FOUND, str(none)) from None
    except ObjectMissing as missing:
        raise gone(missing) from None
    asked = job(frame, elements, place.pixels, instance.transfer_syntax_uid)
    return await reading.rendering.pictured(asked, view)


def tag_of(shown: Sequence[Shown], view: View) -> str:
    """An entity tag of what is shown and how."""
    of = hashlib.sha256(repr(view).encode())
    for each in shown:
        of.update(f"{each.instance.sha256} {each.number}".encode())
    return entity_tag(shown[0].instance, of.hexdigest()[:16])


def _warning(parameters: Mapping[str, str]) -> Mapping[str, str]:
    names = ignored(parameters)
    if not names:
        return {}
    return {"warning": f'299 dicomweb "{" and ".join(names)} changed nothing: not supported."'}
