"""Transcoding of an instance to explicit VR little endian (PS3.5 annex A.2).

The object is written to a file, a decoder process writes a second file, and that is streamed, so
that neither is held in the memory of the service.
"""

import asyncio
import tempfile
from collections.abc import AsyncGenerator
from contextlib import aclosing
from http import HTTPStatus
from itertools import accumulate
from pathlib import Path

from dimse_ingestion.dicom.fragments import ITEM_HEADER
from dimse_ingestion.dicom.frames import FrameNotFound, image_pixels
from dimse_ingestion.dicomweb.http.media_types import DECODABLE, EXPLICIT, is_native
from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.dicomweb.pixels.decoder_pool import MAX_TRANSCODED, frame_decode_job
from dimse_ingestion.dicomweb.pixels.render_parameters import DecodeJob, FrameRanges
from dimse_ingestion.dicomweb.retrieve.context import RetrieveContext
from dimse_ingestion.operations.frame_reader import FrameLocation
from dimse_ingestion.operations.retrieve import object_size
from dimse_ingestion.queries.contract import Located
from dimse_ingestion.spooling.directory import create_directory

_READ_SIZE = 1 << 20


def untranscodable_reason(instance: Located) -> str:
    """Return the reason why an instance can't be transcoded, or an empty string."""
    if object_size(instance) + _decoded_size(instance) > MAX_TRANSCODED:
        return (
            f"Instances of more than {MAX_TRANSCODED} bytes are not transcoded: "
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
    """Yield the instance of `chunks` in explicit VR little endian; raises Problem."""
    if reason := untranscodable_reason(instance):
        raise Problem(HTTPStatus.NOT_ACCEPTABLE, reason)
    await asyncio.to_thread(create_directory, context.directory)
    with tempfile.TemporaryDirectory(dir=context.directory, prefix="transcoding-") as folder:
        source, target = Path(folder, "stored.dcm"), Path(folder, "explicit.dcm")
        with await asyncio.to_thread(source.open, "wb") as file:
            async with aclosing(chunks):
                async for chunk in chunks:
                    await asyncio.to_thread(file.write, chunk)
        await context.decoders.transcode(
            source, target, *await _compressed_frames(context, instance)
        )
        with await asyncio.to_thread(target.open, "rb") as transcoded_file:
            while piece := await asyncio.to_thread(transcoded_file.read, _READ_SIZE):
                yield piece


async def _compressed_frames(
    context: RetrieveContext, instance: Located
) -> tuple[list[FrameRanges], DecodeJob]:
    """Return the byte ranges of compressed frames and how to decode them; none if uncompressed."""
    no_frames = DecodeJob(b"", b"", EXPLICIT, is_encapsulated=False)
    if is_native(instance.transfer_syntax_uid) or not _decoded_size(instance):
        return [], no_frames
    try:
        places = await context.frames.locate_all(instance)
        presentation = await context.frames.presentation_attributes(instance, 1)
    except FrameNotFound as not_found:
        raise Problem(HTTPStatus.NOT_ACCEPTABLE, str(not_found)) from None
    template = frame_decode_job(b"", presentation, places[0].pixels, instance.transfer_syntax_uid)
    return [_frame_ranges(each) for each in places], template


def _frame_ranges(frame: FrameLocation) -> FrameRanges:
    offset = frame.located.header_size + frame.place.offset
    lengths = getattr(frame.place, "fragments", (frame.place.length,))
    begins = accumulate((each + ITEM_HEADER for each in lengths), initial=offset)
    return FrameRanges(tuple(zip(begins, lengths, strict=False)), frame.length)


def _decoded_size(instance: Located) -> int:
    """Return the size of all frames uncompressed, 0 unless it is an image."""
    try:
        pixels = image_pixels(instance.elements)
    except FrameNotFound:
        return 0
    return pixels.native_bits // 8 * pixels.number_of_frames
