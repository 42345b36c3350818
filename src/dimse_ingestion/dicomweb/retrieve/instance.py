"""One object as the whole body of an answer: with its length, in ranges, or transcoded.

Shared by WADO-RS and WADO-URI.
"""

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from dimse_ingestion.dicomweb.http.media_types import DICOM
from dimse_ingestion.dicomweb.http.multipart_writer import Part, ResponseHead, single_response
from dimse_ingestion.dicomweb.http.ranges import ByteRange, byte_range
from dimse_ingestion.dicomweb.retrieve.context import Reading, entity_tag, gone, tagged
from dimse_ingestion.dicomweb.retrieve.transcoding import transcoded
from dimse_ingestion.operations.retrieve import ObjectMissing, object_size
from dimse_ingestion.queries.contract import Located


async def plain(reading: Reading, request: Request, instance: Located, syntax: str) -> Response:
    """One instance as application/dicom; raises Problem."""
    content_type = f"{DICOM}; transfer-syntax={syntax}"
    whole = object_size(instance)
    if syntax != instance.transfer_syntax_uid:
        headers = tagged(entity_tag(instance, "explicit"))
        stored = reading.retrieving.object_range(instance, 0, whole)
        part = Part(content_type, transcoded(reading, instance, stored))
        return await single_response(request, part, None, ResponseHead(headers=headers))
    headers = {**tagged(entity_tag(instance)), "accept-ranges": "bytes"}
    asked = byte_range(request, whole, headers["etag"])
    if asked is not None:
        headers["content-range"] = asked.content_range
    where = asked or ByteRange(0, whole, whole)
    chunks = reading.retrieving.object_range(instance, where.offset, where.length)
    answer = ResponseHead(HTTPStatus.PARTIAL_CONTENT if asked else HTTPStatus.OK, headers)
    try:
        return await single_response(request, Part(content_type, chunks), where.length, answer)
    except ObjectMissing as missing:
        raise gone(missing) from None
