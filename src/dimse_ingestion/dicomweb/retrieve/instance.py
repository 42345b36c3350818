"""A single object as the body of a response: with its length, by byte range, or transcoded.

Shared by WADO-RS and WADO-URI.
"""

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from dimse_ingestion.dicomweb.audit import noted_sending
from dimse_ingestion.dicomweb.http.media_types import DICOM
from dimse_ingestion.dicomweb.http.multipart_writer import Part, ResponseHead, single_response
from dimse_ingestion.dicomweb.http.ranges import ByteRange, byte_range
from dimse_ingestion.dicomweb.retrieve.context import (
    RetrieveContext,
    caching_headers,
    entity_tag,
    object_missing_problem,
)
from dimse_ingestion.dicomweb.retrieve.transcoding import transcode
from dimse_ingestion.operations.retrieve import ObjectMissing, object_size
from dimse_ingestion.queries.contract import Located


async def instance_response(
    context: RetrieveContext, request: Request, instance: Located, syntax: str
) -> Response:
    """Return one instance as application/dicom; raises Problem."""
    content_type = f"{DICOM}; transfer-syntax={syntax}"
    size = object_size(instance)
    if syntax != instance.transfer_syntax_uid:
        headers = caching_headers(entity_tag(instance, "explicit"))
        stored = context.retriever.object_range(instance, 0, size)
        chunks = transcode(context, instance, stored)
        part = Part(content_type, noted_sending(request, instance.elements, chunks))
        return await single_response(request, part, None, ResponseHead(headers=headers))
    headers = {**caching_headers(entity_tag(instance)), "accept-ranges": "bytes"}
    requested_range = byte_range(request, size, headers["etag"])
    if requested_range is not None:
        headers["content-range"] = requested_range.content_range
    effective_range = requested_range or ByteRange(0, size, size)
    chunks = context.retriever.object_range(
        instance, effective_range.offset, effective_range.length
    )
    answer = ResponseHead(HTTPStatus.PARTIAL_CONTENT if requested_range else HTTPStatus.OK, headers)
    try:
        return await single_response(
            request,
            Part(content_type, noted_sending(request, instance.elements, chunks)),
            effective_range.length,
            answer,
        )
    except ObjectMissing as missing:
        raise object_missing_problem(missing) from None
