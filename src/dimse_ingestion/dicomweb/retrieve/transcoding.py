"""Transcoding of an instance to explicit VR little endian (PS3.5 annex A.2).

`operations.decompression` converts the data set; here it gets a Part 10 header, and instances that
can't be converted get their reason.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from http import HTTPStatus

from dimse_ingestion.dicom import part10
from dimse_ingestion.dicom.elements import SOP_CLASS_UID, SOP_INSTANCE_UID, by_tag
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.frames import FrameNotFound, image_pixels
from dimse_ingestion.dicom.uids import strip_padding
from dimse_ingestion.dicomweb.http.media_types import EXPLICIT, is_native
from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.dicomweb.retrieve.context import RetrieveContext
from dimse_ingestion.operations.decompression import MAXIMUM_DECOMPRESSED
from dimse_ingestion.operations.frame_decoding import decoded_size
from dimse_ingestion.operations.re_encoding import re_encoded
from dimse_ingestion.operations.retrieve import object_size
from dimse_ingestion.pixels.decoder_pool import DECODABLE
from dimse_ingestion.queries.contract import Located


def untranscodable_reason(instance: Located) -> str:
    """Return the reason why an instance can't be transcoded, or an empty string."""
    if object_size(instance) + _decoded_size(instance) > MAXIMUM_DECOMPRESSED:
        return (
            f"Instances of more than {MAXIMUM_DECOMPRESSED} bytes are not transcoded: "
            "ask for transfer-syntax=*, or for single frames."
        )
    syntax = instance.transfer_syntax_uid
    if not is_native(syntax) and syntax not in DECODABLE and _decoded_size(instance):
        return (
            f"Transfer syntax {syntax} can't be decoded here: ask for transfer-syntax=* "
            "to have the instance as it is stored."
        )
    return ""


async def transcode(
    context: RetrieveContext, instance: Located, chunks: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    """Yield the instance of `chunks` in explicit VR little endian; raises Problem and Failure."""
    if reason := untranscodable_reason(instance):
        raise Problem(HTTPStatus.NOT_ACCEPTABLE, reason)
    data_set, syntax = _without_header(instance, chunks), instance.transfer_syntax_uid
    pieces = (
        re_encoded(data_set, syntax, EXPLICIT)
        if is_native(syntax)
        else context.decompressor.converted(instance, data_set, EXPLICIT)
    )
    header = _header(instance)
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                yield header + piece
                header = b""
    except DimseFailure as failure:
        raise Problem(HTTPStatus.NOT_ACCEPTABLE, f"{failure.comment}.") from None


def _header(instance: Located) -> bytes:
    found = by_tag(instance.elements)
    sop_class_uid, sop_instance_uid = (
        strip_padding(found[tag].value) for tag in (SOP_CLASS_UID, SOP_INSTANCE_UID)
    )
    return part10.header(sop_class_uid, sop_instance_uid, EXPLICIT)


async def _without_header(
    instance: Located, chunks: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    left = instance.header_size
    async with aclosing(chunks):
        async for chunk in chunks:
            if data := chunk[left:]:
                yield data
            left = max(0, left - len(chunk))


def _decoded_size(instance: Located) -> int:
    """Return the size of all frames uncompressed, 0 unless it is an image."""
    try:
        return decoded_size(image_pixels(instance.elements))
    except FrameNotFound:
        return 0
