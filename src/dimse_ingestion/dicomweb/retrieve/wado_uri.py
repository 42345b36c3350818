"""WADO-URI (PS3.18 section 9): one instance by query parameters, for older viewers.

An instance is returned as application/dicom or rendered as JPEG or PNG. Only the parsing of the
request differs from WADO-RS.
"""

from collections.abc import Iterable, Mapping
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dimse_ingestion.dicom import uids
from dimse_ingestion.dicomweb.audit import note_access
from dimse_ingestion.dicomweb.http.conditional import is_unchanged
from dimse_ingestion.dicomweb.http.content_negotiation import (
    accepted_types,
    choose_offer,
    parse_media_type,
)
from dimse_ingestion.dicomweb.http.media_types import DICOM, offered_syntax
from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.dicomweb.http.urls import BASE_PATH, Resource
from dimse_ingestion.dicomweb.retrieve.context import RetrieveContext, caching_headers
from dimse_ingestion.dicomweb.retrieve.frames import parse_frame_numbers
from dimse_ingestion.dicomweb.retrieve.instance import instance_response
from dimse_ingestion.dicomweb.retrieve.render_parameters import wado_uri_parameters
from dimse_ingestion.dicomweb.retrieve.rendered import (
    RenderedFrame,
    file_response,
    middle_frame,
    rendered_entity_tag,
    rendered_response,
)
from dimse_ingestion.dicomweb.retrieve.streams import rendered_type
from dimse_ingestion.dicomweb.retrieve.transcoding import untranscodable_reason
from dimse_ingestion.pixels.jobs import JPEG, PNG
from dimse_ingestion.queries.contract import Located

_PATH = f"{BASE_PATH}/wado"
_UID_NAMES = ("studyUID", "seriesUID", "objectUID")
_UNSUPPORTED = ("anonymize", "presentationUID", "presentationSeriesUID")


def routes(context: RetrieveContext) -> Iterable[BaseRoute]:
    """Yield the route of WADO-URI."""

    async def answer(request: Request) -> Response:
        parameters = request.query_params
        target = _resource(parameters)
        instance = await context.instance(target)
        offer = _media_type(request, instance)
        if offer == rendered_type(instance):
            return await file_response(context, request, instance, [])
        if offer == DICOM:
            return await instance_response(
                context, request, instance, _transfer_syntax(parameters, instance)
            )
        return await _rendered(context, request, instance, offer)

    yield Route(_PATH, answer, methods=["GET"])


def _resource(parameters: Mapping[str, str]) -> Resource:
    """Return the resource of the requested instance; raises Problem 400."""
    if parameters.get("requestType") != "WADO":
        raise Problem(
            HTTPStatus.BAD_REQUEST, "requestType must be WADO (PS3.18 section 9.1.2.1.1)."
        )
    for name in _UNSUPPORTED:
        if parameters.get(name):
            raise Problem(HTTPStatus.BAD_REQUEST, f"{name} is not supported: leave it out.")
    values = [parameters.get(name, "") for name in _UID_NAMES]
    for name, value in zip(_UID_NAMES, values, strict=True):
        if not uids.is_valid(value):
            raise Problem(
                HTTPStatus.BAD_REQUEST, f"{name} must be a UID: numbers and dots, at most 64."
            )
    return Resource(*values)


def _media_type(request: Request, instance: Located) -> str:
    """Return the media type to respond with: by contentType, else Accept, else JPEG for images."""
    own = rendered_type(instance)
    is_image = _is_image(instance) and not own
    offers = [JPEG, PNG, DICOM] if is_image else [DICOM, *([own] if own else []), JPEG, PNG]
    written = request.query_params.get("contentType", "")
    ranges = (
        [parse_media_type(each) for each in written.split(",")]
        if written
        else accepted_types(request)
    )
    return choose_offer(ranges, offers).offer


def _is_image(instance: Located) -> bool:
    try:
        middle_frame(instance)
    except Problem:
        return False
    return True


def _transfer_syntax(parameters: Mapping[str, str], instance: Located) -> str:
    """Return the requested transfer syntax, by default the stored one; raises Problem 406."""
    requested = parameters.get("transferSyntax", "") or "*"
    syntax = offered_syntax([requested], instance.transfer_syntax_uid)
    if syntax is None:
        raise Problem(
            HTTPStatus.NOT_ACCEPTABLE,
            f"It is stored in transfer syntax {instance.transfer_syntax_uid}: request that one "
            "or 1.2.840.10008.1.2.1.",
        )
    if syntax != instance.transfer_syntax_uid and (reason := untranscodable_reason(instance)):
        raise Problem(HTTPStatus.NOT_ACCEPTABLE, reason)
    return syntax


async def _rendered(
    context: RetrieveContext, request: Request, instance: Located, media_type: str
) -> Response:
    parameters = request.query_params
    render_parameters = wado_uri_parameters(parameters, media_type)
    frame = middle_frame(instance)
    if written := parameters.get("frameNumber"):
        frame = RenderedFrame(instance, parse_frame_numbers(written)[0])
    headers = caching_headers(rendered_entity_tag([frame], render_parameters))
    if is_unchanged(request, headers["etag"]):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=dict(headers))
    note_access(request, [instance.elements])
    return await rendered_response(context, frame, render_parameters, headers)
