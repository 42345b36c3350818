"""Any fragments, offset table and Number of Frames: the right frame, or a refusal."""

import itertools
import struct
from collections.abc import Iterator

import pytest

from dimse_ingestion.dicom.frames import FrameNotFound
from dimse_ingestion.operations import frame_reader
from dimse_ingestion.operations.frame_reader import FrameReader
from dimse_ingestion.operations.retrieve import Retriever
from dimse_ingestion.queries.contract import Located
from tests.retrievable import Archive
from tests.unit.operations.fragmented import fragments, jpeg, stored

JPEG, JPEG_2000, RLE = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"
PRIVATE = "1.2.276.0.9"


def jpeg_2000(number: int) -> bytes:
    return b"\xff\x4f\xff\x51" + jpeg(number)[4:]


def rle(number: int) -> bytes:
    return struct.pack("<II", 1, 64) + bytes(56) + bytes([number]) * 30


IMAGES = {
    "JPEG": (JPEG, jpeg),
    "JPEG 2000": (JPEG_2000, jpeg_2000),
    "JPEG 2000 as JPEG": (JPEG, jpeg_2000),
    "RLE": (RLE, rle),
    "JPEG in a private syntax": (PRIVATE, jpeg),
}


def pieces(image: bytes, count: int) -> list[bytes]:
    ends = [len(image) * number // count // 2 * 2 for number in range(count)] + [len(image)]
    return [image[begin:end] for begin, end in itertools.pairwise(ends)]


def pixel_data(images: list[bytes], counts: tuple[int, ...], declared: int) -> Iterator[bytes]:
    """Yield the images in so many fragments each, without and with every offset table."""
    parts = [
        piece for image, count in zip(images, counts, strict=True) for piece in pieces(image, count)
    ]
    yield fragments(*parts)
    offsets = list(itertools.accumulate((len(part) + 8 for part in parts), initial=0))
    for later in itertools.combinations(offsets[1:-1], declared - 1):
        yield fragments(*parts, table=struct.pack(f"<{declared}I", 0, *later))


async def frame(archive: Archive, located: Located, number: int) -> bytes | None:
    reader = FrameReader(Retriever(archive.bucket, archive.queries))
    try:
        (place,) = await reader.locate(located, [number])
        return b"".join([piece async for piece in reader.chunks(place)])
    except FrameNotFound:
        return None


@pytest.mark.parametrize("most_read_at_once", [2**20, 1])
@pytest.mark.parametrize("which", IMAGES)
async def test_a_frame_is_the_right_image_or_refused(
    which: str, most_read_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_reader, "_MAX_WHOLE_READ", most_read_at_once)
    syntax, made = IMAGES[which]
    right = 0
    for images in ([made(1)], [made(1), made(2)], [made(1), made(2), made(3)]):
        for counts in itertools.product((1, 2), repeat=len(images)):
            for value in pixel_data(images, counts, len(images)):
                archive, located = await stored(len(images), value, syntax)
                for number, image in enumerate(images, 1):
                    read = await frame(archive, located, number)
                    assert read in (None, image), (counts, number)
                    right += read is not None
    assert right > 50


@pytest.mark.parametrize("which", IMAGES)
async def test_a_frame_is_one_image_or_refused_whatever_number_of_frames_says(which: str) -> None:
    syntax, made = IMAGES[which]
    images = [made(1), made(2)]
    for declared in (1, 3):
        for counts in itertools.product((1, 2, 3), repeat=2):
            for value in pixel_data(images, counts, declared):
                archive, located = await stored(declared, value, syntax)
                for number in range(1, declared + 1):
                    read = await frame(archive, located, number)
                    assert read in (None, *images), (declared, counts, number)


async def test_an_instance_found_damaged_refuses_all_its_frames() -> None:
    archive, located = await stored(3, fragments(jpeg(1)[:30], jpeg(1)[30:], jpeg(2)))
    reader = FrameReader(Retriever(archive.bucket, archive.queries))
    (place,) = await reader.locate(located, [2])
    with pytest.raises(FrameNotFound, match="nothing that separates them"):
        await reader.read_frame(place)
    with pytest.raises(FrameNotFound, match="nothing that separates them"):
        await reader.locate(located, [3])


@pytest.mark.parametrize("table", [b"", struct.pack("<2I", 0, 10)])
async def test_frames_of_a_private_syntax_without_markers_are_refused(table: bytes) -> None:
    archive, located = await stored(2, fragments(b"12", b"34", table=table), PRIVATE)
    assert [await frame(archive, located, number) for number in (1, 2)] == [None, None]
    archive, located = await stored(1, fragments(b"12", b"34"), PRIVATE)
    assert await frame(archive, located, 1) == b"1234"


async def test_the_check_of_images_without_an_end_is_done_once() -> None:
    archive, located = await stored(20, fragments(*[jpeg(n)[:-2] for n in range(20)]))
    reader = FrameReader(Retriever(archive.bucket, archive.queries))
    places = await reader.locate_all(located)
    assert [await reader.read_frame(each) for each in places] == [jpeg(n)[:-2] for n in range(20)]
    assert len(archive.bucket.reads) == 20 + 1 + 19  # the frames; the first bytes and boundaries
