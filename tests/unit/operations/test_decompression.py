"""Decompression of data sets: pixels as pydicom decodes them, all other bytes as they stand."""

import os
import struct
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydicom import Dataset, dcmread
from pydicom.filereader import read_dataset
from pydicom.pixels.utils import iter_pixels

from dimse_ingestion.dicom import part10
from dimse_ingestion.failures import LimitExceeded, Unavailable
from dimse_ingestion.operations import decompression
from dimse_ingestion.operations.decompression import Decompressor
from dimse_ingestion.pixels.decoder_pool import DECODABLE
from dimse_ingestion.pixels.failures import Undecodable
from dimse_ingestion.pixels.jobs import DecodeJob, FrameRanges
from dimse_ingestion.queries.contract import Located
from tests.in_process_decoders import InProcessDecoders
from tests.retrievable import Archive
from tests.unit.operations.fragmented import fragments, multi_frame, stored
from tests.unit.pixels.test_decoder import images

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
UNCOMPRESSED, RLE = "1.2.840.10008.1.2.1.98", "1.2.840.10008.1.2.5"
PIXELS_CHANGE = {0x00280004, 0x00280006, 0x00280100, 0x7FE00010}
OF_FRAGMENTS = {0x7FE00001, 0x7FE00002, 0x7FE00003}
LOSSY = {0x00282110, 0x00282112, 0x00282114}


def compressed() -> list[Path]:
    """Return all images that can be decompressed, but for one that takes long."""
    paths = []
    for path in images():
        head = dcmread(path, stop_before_pixels=True)
        is_long = int(head.get("NumberOfFrames") or 1) > 100
        if head.file_meta.TransferSyntaxUID in DECODABLE and not is_long:
            paths.append(path)
    return paths


def by_name(name: str) -> Path:
    return next(path for path in compressed() if path.name == name)


async def pieces_of(archive: Archive, located: Located, length: int) -> AsyncGenerator[bytes, None]:
    whole = await archive.bucket.get_range(located.object_name, 0, 10**9)
    for place in range(located.header_size, len(whole), length):
        yield whole[place : place + length]


async def converted(
    archive: Archive,
    located: Located,
    folder: Path,
    target: str = EXPLICIT,
    *,
    scans: bool = True,
    length: int = 50_000,
) -> bytes:
    decompressor = Decompressor(InProcessDecoders(), folder)
    known = msgspec.structs.replace(located, elements=[]) if scans else located
    pieces = decompressor.converted(known, pieces_of(archive, located, length), target)
    async with aclosing(pieces):
        return b"".join([piece async for piece in pieces])


def read(data_set: bytes, target: str = EXPLICIT) -> Any:
    return read_dataset(BytesIO(data_set), target == IMPLICIT, True)


def as_file(data_set: bytes, syntax: str = EXPLICIT) -> Dataset:
    return dcmread(BytesIO(part10.header("1.2.3", "1.2.3.4", syntax) + data_set))


@pytest.mark.parametrize("path", compressed(), ids=lambda path: path.name)
async def test_every_image_is_decompressed_without_change_of_pixels_and_elements(
    path: Path, tmp_path: Path
) -> None:
    archive, expected = Archive(), dcmread(path)
    data_set = await converted(archive, await archive.add_file(path), tmp_path)
    result: Any = as_file(data_set)
    is_ybr = expected.PhotometricInterpretation == "YBR_FULL"
    for one, other in zip(
        iter_pixels(result, raw=is_ybr), iter_pixels(expected, raw=is_ybr), strict=True
    ):
        assert (one == other).all()
    stored_tags = {int(each.tag) for each in expected if each.tag.element}
    assert {int(each.tag) for each in result} - LOSSY == stored_tags - OF_FRAGMENTS - LOSSY
    for each in expected:
        if int(each.tag) in stored_tags - PIXELS_CHANGE - OF_FRAGMENTS - LOSSY:
            assert result[each.tag].value == each.value
    assert len(result.PixelData) % 2 == 0
    assert not list(tmp_path.iterdir())  # noqa: ASYNC240 - a folder of one test


def values_of(data_set: bytes) -> dict[int, tuple[str, bytes]]:
    """Return VR and bytes of each plain element of an explicit data set."""
    found, place = {}, 0
    while place < len(data_set):
        group, number, vr, length = struct.unpack_from("<HH2sH", data_set, place)
        place += 8
        if vr in (b"OB", b"OW", b"SQ", b"UN", b"UT", b"OV", b"UC", b"UR", b"OF", b"OD", b"OL"):
            (length,) = struct.unpack_from("<I", data_set, place)
            place += 4
        found[group << 16 | number] = vr.decode(), data_set[place : place + length]
        place += length
    return found


def rle(*values: int) -> bytes:
    """Return 256 pixels of each value, of one byte."""
    run = b"".join(struct.pack("bB", -127, value) * 2 for value in values)
    return struct.pack("<16I", 1, 64, *[0] * 14) + run


@pytest.mark.parametrize("name", ["MR2_J2KR.dcm", "SC_rgb_rle_16bit_2frame.dcm", "JPEG-LL.dcm"])
async def test_an_image_is_decompressed_to_implicit_vr(name: str, tmp_path: Path) -> None:
    archive = Archive()
    located = await archive.add_file(by_name(name))
    result = as_file(await converted(archive, located, tmp_path, IMPLICIT), IMPLICIT)
    expected = dcmread(by_name(name))
    for one, other in zip(iter_pixels(result), iter_pixels(expected), strict=True):
        assert (one == other).all()
    assert result.PatientName == expected.PatientName


async def test_bytes_that_pydicom_would_write_otherwise_stay_as_they_are(tmp_path: Path) -> None:
    archive, located = await stored(1, fragments(rle(7)), RLE)
    before = (await archive.bucket.get_range(located.object_name, 0, 10**6))[located.header_size :]
    result = values_of(await converted(archive, located, tmp_path))
    head = values_of(before[: before.index(b"\xe0\x7f\x10\x00")])
    assert {tag: result[tag] for tag in head} == head
    assert result[0x7FE00010] == ("OB", b"\7" * 256)


@pytest.mark.parametrize("scans", [True, False])
async def test_frames_are_separated_by_the_same_rules_as_elsewhere(
    tmp_path: Path, scans: bool
) -> None:
    """A table of zeros, two fragments a frame."""
    halves = [half for n in (1, 2) for half in (rle(n)[:64], rle(n)[64:])]
    archive, located = await stored(2, fragments(*halves, table=bytes(8)), RLE)
    result = read(await converted(archive, located, tmp_path, scans=scans, length=7))
    assert result.PixelData == b"\1" * 256 + b"\2" * 256


async def test_samples_in_fragments_become_native(tmp_path: Path) -> None:
    archive, located = await stored(2, fragments(bytes(256), b"\2" * 256), UNCOMPRESSED)
    result = read(await converted(archive, located, tmp_path))
    assert result.PixelData == bytes(256) + b"\2" * 256


async def test_frames_that_cannot_be_separated_are_refused(tmp_path: Path) -> None:
    archive, located = await stored(2, fragments(b"12", b"34", b"56"), RLE)
    with pytest.raises(Undecodable, match="3 fragments for 2 frames"):
        await converted(archive, located, tmp_path)
    assert not list(tmp_path.iterdir())  # noqa: ASYNC240 - a folder of one test


async def test_a_data_set_without_compressed_pixels_is_only_re_encoded(tmp_path: Path) -> None:
    archive = Archive()
    image = multi_frame(1, b"")
    data_set = image[: image.index(b"\xe0\x7f\x10\x00")]
    data_set += struct.pack("<HH2sH", 0x2009, 0x1001, b"LO", 6) + b"odd  \\"
    located = await archive.add(data_set, RLE, uid="1.2.3.4", sop="1.2.840.10008.5.1.4.1.1.3.1")
    assert await converted(archive, located, tmp_path) == data_set
    assert read(await converted(archive, located, tmp_path, IMPLICIT), IMPLICIT).SOPInstanceUID


class NoDecoders(InProcessDecoders):
    """Fails, as decoders do."""

    def __init__(self, failure: Exception) -> None:
        super().__init__()
        self._failure = failure

    async def decode_frames(self, *arguments: Any) -> Any:
        raise self._failure


class RepeatingDecoders(InProcessDecoders):
    """Runs a job again that has ended, and breaks it off, as a pool that has lost processes may."""

    async def decode_frames(
        self, source: Path, target: Path, frames: Sequence[FrameRanges], template: DecodeJob
    ) -> Any:
        result = await super().decode_frames(source, target, frames, template)
        broken = FrameRanges(((0, 10),), 10)
        with pytest.raises(Undecodable):
            await super().decode_frames(source, target, [frames[0], broken], template)
        return result


async def test_a_job_that_is_run_again_changes_no_pixels(tmp_path: Path) -> None:
    archive, located = await stored(3, fragments(rle(1), rle(2), rle(3)), RLE)
    expected = await converted(archive, located, tmp_path)
    decompressor = Decompressor(RepeatingDecoders(), tmp_path)
    pieces = decompressor.converted(located, pieces_of(archive, located, 100), EXPLICIT)
    assert b"".join([piece async for piece in pieces]) == expected


async def test_a_failure_comes_before_the_first_byte_and_leaves_no_file(tmp_path: Path) -> None:
    archive, located = await stored(1, fragments(rle(1)), RLE)
    decompressor = Decompressor(NoDecoders(Unavailable("Busy")), tmp_path)
    pieces = decompressor.converted(located, pieces_of(archive, located, 100), EXPLICIT)
    with pytest.raises(Unavailable, match="Busy"):
        await anext(pieces)
    assert not list(tmp_path.iterdir())  # noqa: ASYNC240 - a folder of one test
    assert decompressor._disk._free == decompression.DISK


async def test_a_missing_folder_is_created_and_a_full_disk_is_told(tmp_path: Path) -> None:
    archive, located = await stored(1, fragments(rle(1)), RLE)
    assert await converted(archive, located, tmp_path / "a" / "b")
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="folder for decompression"):
        await converted(archive, located, tmp_path / "file")


@pytest.mark.parametrize(("rows", "size"), [(1 << 15, None), (16, 600 * 2**20)])
async def test_more_than_the_maximum_is_refused(
    tmp_path: Path, rows: int, size: int | None
) -> None:
    archive, located = await stored(1, fragments(rle(1)), RLE)
    if size is not None:
        located = msgspec.structs.replace(located, size=size)
    elements = [
        msgspec.structs.replace(each, value=str(rows))
        if each.tag in (0x00280010, 0x00280011)
        else each
        for each in located.elements
    ]
    located = msgspec.structs.replace(located, elements=elements)
    with pytest.raises(LimitExceeded, match="536870912 bytes"):
        await converted(archive, located, tmp_path, scans=False)


async def test_files_that_a_killed_process_left_are_removed(tmp_path: Path) -> None:
    old, new = tmp_path / "decompressing-old", tmp_path / "decompressing-new"
    for folder in (old, new):
        folder.mkdir()
        (folder / "stored").write_text("")
    os.utime(old, (time.time() - 7200,) * 2)
    archive, located = await stored(1, fragments(rle(1)), RLE)
    await converted(archive, located, tmp_path)
    assert not old.exists()
    assert new.exists()


async def with_changes(path: Path, folder: Path, **values: Any) -> Path:
    """Write an image without, or with other values of, some attributes."""
    image = dcmread(path)
    for keyword, value in values.items():
        if value is None:
            delattr(image, keyword)
        else:
            setattr(image, keyword, value)
    image.save_as(folder / path.name)
    return folder / path.name


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("SC_rgb_jpeg_dcmtk.dcm", "ISO_10918_1"),
        ("JPGExtended.dcm", "ISO_10918_1"),
        ("US1_J2KI.dcm", "ISO_15444_1"),
    ],
)
async def test_an_image_says_that_its_compression_was_lossy(
    tmp_path: Path, name: str, method: str
) -> None:
    keywords = [each for each in dcmread(by_name(name)).dir() if each.startswith("LossyImage")]
    (tmp_path / "in").mkdir()
    path = await with_changes(by_name(name), tmp_path / "in", **dict.fromkeys(keywords))
    archive = Archive()
    result: Any = read(await converted(archive, await archive.add_file(path), tmp_path / "work"))
    assert result.LossyImageCompression == "01"
    assert result.LossyImageCompressionMethod == method
    ratio = len(result.PixelData) / len(dcmread(path).PixelData)
    assert float(result.LossyImageCompressionRatio) == pytest.approx(ratio, rel=0.1)


@pytest.mark.parametrize("name", ["JPEG-LL.dcm", "MR2_J2KR.dcm", "SC_rgb_rle.dcm"])
async def test_a_lossless_image_says_nothing_else_than_before(tmp_path: Path, name: str) -> None:
    archive = Archive()
    result = read(await converted(archive, await archive.add_file(by_name(name)), tmp_path))
    before = dcmread(by_name(name))
    assert result.get("LossyImageCompression") == before.get("LossyImageCompression")
    assert "LossyImageCompressionMethod" not in result


@pytest.mark.parametrize(
    ("name", "colour"),
    [
        ("SC_rgb_dcmtk_+eb+cy+s2.dcm", "RGB"),  # YBR_FULL_422
        ("SC_rgb_dcmtk_+eb+cy+s4.dcm", "YBR_FULL"),
        ("examples_jpeg2k.dcm", "RGB"),  # YBR_RCT
        ("US1_J2KI.dcm", "RGB"),  # YBR_ICT
        ("OBXXXX1A_rle.dcm", "PALETTE COLOR"),
        ("RG1_J2KR.dcm", "MONOCHROME1"),
    ],
)
async def test_a_photometric_interpretation_is_that_of_the_samples(
    tmp_path: Path, name: str, colour: str
) -> None:
    archive = Archive()
    result = read(await converted(archive, await archive.add_file(by_name(name)), tmp_path))
    assert result.PhotometricInterpretation == colour
    if result.SamplesPerPixel == 3:
        assert result.PlanarConfiguration == 0
        assert len(result.PixelData) == result.Rows * result.Columns * 3


@pytest.mark.parametrize(("bits", "vr"), [(8, b"OB"), (16, b"OW")])
async def test_the_vr_of_pixel_data_depends_on_its_bits(
    tmp_path: Path, bits: int, vr: bytes
) -> None:
    name = "JPGLosslessP14SV1_1s_1f_8b.dcm" if bits == 8 else "JPEG-LL.dcm"
    archive = Archive()
    located = await archive.add_file(by_name(name))
    explicit = await converted(archive, located, tmp_path)
    implicit = await converted(archive, located, tmp_path, IMPLICIT)
    place = explicit.index(b"\xe0\x7f\x10\x00")
    assert explicit[place + 4 : place + 6] == vr
    pixels = read(explicit).PixelData
    assert implicit.endswith(b"\xe0\x7f\x10\x00" + struct.pack("<I", len(pixels)) + pixels)
