import struct
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.pixels.utils import iter_pixels

from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.dicomweb.http.urls import ServiceUrls
from dimse_ingestion.dicomweb.pixels import decoder
from dimse_ingestion.dicomweb.pixels.decoder_pool import DecoderPool
from dimse_ingestion.dicomweb.pixels.render_parameters import DecodeJob, FrameRanges
from dimse_ingestion.dicomweb.retrieve import transcoding
from dimse_ingestion.dicomweb.retrieve.context import RetrieveContext
from dimse_ingestion.operations.frame_reader import FrameReader
from dimse_ingestion.operations.retrieve import Retriever, object_size
from dimse_ingestion.queries.contract import Located
from tests.retrievable import Archive
from tests.unit.dicomweb.pixels.test_decoder import images
from tests.unit.operations.fragmented import fragments, stored

EXPLICIT = "1.2.840.10008.1.2.1"
UNCOMPRESSED = "1.2.840.10008.1.2.1.98"
RLE = "1.2.840.10008.1.2.5"


class InProcessPool(DecoderPool):
    """Transcodes in this process."""

    def __init__(self) -> None:
        super().__init__(1)

    async def transcode(
        self, source: Path, target: Path, frames: Sequence[FrameRanges], template: DecodeJob
    ) -> None:
        decoder.transcode(source, target, frames, template)


def context(archive: Archive, folder: Path) -> RetrieveContext:
    retriever = Retriever(archive.bucket, archive.queries)
    return RetrieveContext(
        retriever, FrameReader(retriever), InProcessPool(), ServiceUrls("", trusted=()), folder
    )


async def transcode(archive: Archive, located: Located, folder: Path) -> Dataset:
    retrieve_context = context(archive, folder)
    chunks = retrieve_context.retriever.object_range(located, 0, object_size(located))
    pieces = [each async for each in transcoding.transcode(retrieve_context, located, chunks)]
    return dcmread(BytesIO(b"".join(pieces)))


@pytest.mark.parametrize("path", list(images()), ids=lambda path: path.name)
async def test_every_image_is_transcoded_without_change_of_its_pixels(
    path: Path, tmp_path: Path
) -> None:
    expected = dcmread(path)
    archive = Archive()
    result = await transcode(archive, await archive.add_file(path), tmp_path)
    assert result.file_meta.TransferSyntaxUID == EXPLICIT
    assert result.SOPInstanceUID == expected.SOPInstanceUID
    for one, other in zip(iter_pixels(result), iter_pixels(expected), strict=True):
        assert (one == other).all()
    own = {each.tag for each in expected if each.tag.element}  # no group lengths
    assert {each.tag for each in result} >= own
    assert not list(tmp_path.iterdir())  # noqa: ASYNC240 - a folder of one test


async def test_samples_in_fragments_become_native(tmp_path: Path) -> None:
    archive, located = await stored(2, fragments(bytes(256), b"\2" * 256), UNCOMPRESSED)
    result = await transcode(archive, located, tmp_path)
    assert result.PixelData == bytes(256) + b"\2" * 256
    assert result.NumberOfFrames == 2


def rle(*values: int) -> bytes:
    """Return 256 pixels of each value, of one byte."""
    run = b"".join(struct.pack("bB", -127, value) * 2 for value in values)
    return struct.pack("<16I", 1, 64, *[0] * 14) + run


async def test_frames_are_separated_by_the_same_rules_as_elsewhere(tmp_path: Path) -> None:
    """A table of zeros, two fragments a frame."""
    halves = [half for n in (1, 2) for half in (rle(n)[:64], rle(n)[64:])]
    archive, located = await stored(2, fragments(*halves, table=bytes(8)), RLE)
    result = await transcode(archive, located, tmp_path)
    assert result.PixelData == b"\1" * 256 + b"\2" * 256


async def test_frames_that_cannot_be_separated_are_refused(tmp_path: Path) -> None:
    archive, located = await stored(2, fragments(b"12", b"34", b"56"), RLE)
    with pytest.raises(Problem, match="3 fragments for 2 frames") as problem:
        await transcode(archive, located, tmp_path)
    assert problem.value.status == 406
