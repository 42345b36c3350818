from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.pixels.utils import iter_pixels

from dimse_ingestion.dicomweb.http.media_types import is_native
from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.dicomweb.http.urls import ServiceUrls
from dimse_ingestion.dicomweb.retrieve import transcoding
from dimse_ingestion.dicomweb.retrieve.context import RetrieveContext
from dimse_ingestion.operations.decompression import Decompressor
from dimse_ingestion.operations.frame_reader import FrameReader
from dimse_ingestion.operations.retrieve import Retriever, object_size
from dimse_ingestion.pixels.failures import Undecodable
from dimse_ingestion.queries.contract import Located
from tests.in_process_decoders import InProcessDecoders
from tests.retrievable import Archive
from tests.unit.operations.fragmented import fragments, stored
from tests.unit.pixels.test_decoder import images

EXPLICIT = "1.2.840.10008.1.2.1"
VIDEO, RLE = "1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.5"


def context(archive: Archive, folder: Path) -> RetrieveContext:
    retriever, decoders = Retriever(archive.bucket, archive.queries), InProcessDecoders()
    return RetrieveContext(
        retriever,
        FrameReader(retriever),
        decoders,
        Decompressor(decoders, folder),
        ServiceUrls("", trusted=()),
    )


async def transcode(archive: Archive, located: Located, folder: Path) -> Dataset:
    retrieve_context = context(archive, folder)
    chunks = retrieve_context.retriever.object_range(located, 0, object_size(located))
    pieces = [each async for each in transcoding.transcode(retrieve_context, located, chunks)]
    return dcmread(BytesIO(b"".join(pieces)))


def native_and_some_compressed() -> Iterator[Path]:
    """Return images: how others are decompressed is tested with `operations.decompression`."""
    for path in images():
        syntax = dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID
        if is_native(syntax) or path.name in ("JPEG-LL.dcm", "examples_jpeg2k.dcm"):
            yield path


@pytest.mark.parametrize("path", list(native_and_some_compressed()), ids=lambda path: path.name)
async def test_every_image_is_transcoded_without_change_of_its_pixels(
    path: Path, tmp_path: Path
) -> None:
    expected = dcmread(path)
    archive = Archive()
    result = await transcode(archive, await archive.add_file(path), tmp_path)
    assert result.file_meta.TransferSyntaxUID == EXPLICIT
    assert result.file_meta.MediaStorageSOPInstanceUID == result.SOPInstanceUID
    assert result.SOPInstanceUID == expected.SOPInstanceUID
    for one, other in zip(iter_pixels(result), iter_pixels(expected), strict=True):
        assert (one == other).all()
    own = {each.tag for each in expected if each.tag.element}  # no group lengths
    assert {each.tag for each in result} >= own - {0x7FE00001, 0x7FE00002}
    assert not list(tmp_path.iterdir())  # noqa: ASYNC240 - a folder of one test


async def test_frames_that_cannot_be_separated_are_undecodable(tmp_path: Path) -> None:
    archive, located = await stored(2, fragments(b"12", b"34", b"56"), RLE)
    with pytest.raises(Undecodable, match="3 fragments for 2 frames"):
        await transcode(archive, located, tmp_path)


async def test_a_transfer_syntax_without_decoder_is_not_acceptable(tmp_path: Path) -> None:
    archive, located = await stored(1, fragments(b"1234"), VIDEO)
    with pytest.raises(Problem, match="can't be decoded here") as problem:
        await transcode(archive, located, tmp_path)
    assert problem.value.status == 406
