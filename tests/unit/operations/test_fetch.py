import asyncio
import hashlib
import zlib
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import Failure, LimitExceeded
from dimse_ingestion.operations.decompression import Decompressor
from dimse_ingestion.operations.fetch import DataSetReader, checked_key
from dimse_ingestion.pixels.failures import DecodersMissing, Undecodable
from dimse_ingestion.storage.keys import parse_key
from dimse_ingestion.storage.memory import MemoryBucket
from tests.in_process_decoders import InProcessDecoders
from tests.unit.operations.fragmented import fragments, multi_frame
from tests.unit.operations.instances import announced, chunks, data_set, key_of, object_of

PIXELS = bytes(range(256)) * 4096 * 3
CONTENT = data_set(pixels=PIXELS)


async def stored(bucket: MemoryBucket, content: bytes) -> str:
    instance = announced(content)
    whole = object_of(instance, content)
    await bucket.put(key_of(instance), chunks(whole), len(whole))
    return key_of(instance)


async def read(bucket: MemoryBucket, key: str, size: int, offset: int = 0) -> bytes:
    parts = parse_key(key)
    assert parts
    async with aclosing(DataSetReader(bucket).data_set(parts, size, offset)) as pieces:
        return b"".join([piece async for piece in pieces])


@pytest.mark.parametrize("content", [data_set(), CONTENT], ids=["small", "large"])
@pytest.mark.parametrize("offset", [0, 1, 100, 2**20 + 5, 10**9])
async def test_a_data_set_is_read_from_any_byte_without_its_header(
    content: bytes, offset: int
) -> None:
    bucket = MemoryBucket()
    key = await stored(bucket, content)
    assert await read(bucket, key, len(content), offset) == content[offset:]


@pytest.mark.parametrize("content", [data_set(), CONTENT], ids=["small", "large"])
async def test_a_short_data_set_is_returned_as_a_whole(content: bytes) -> None:
    bucket = MemoryBucket()
    parts = parse_key(await stored(bucket, content))
    assert parts
    assert await DataSetReader(bucket).whole(parts, len(content)) == content
    with pytest.raises(DimseFailure, match="shorter"):
        await DataSetReader(bucket).whole(parts, len(content) + 1)


async def test_a_missing_and_a_short_object_fail() -> None:
    bucket = MemoryBucket()
    key = await stored(bucket, CONTENT)
    with pytest.raises(DimseFailure, match="shorter"):
        await read(bucket, key, len(CONTENT) + 1)
    await bucket.delete(key)
    with pytest.raises(DimseFailure, match="not in the bucket") as raised:
        await read(bucket, key, len(CONTENT))
    assert raised.value.status == Status.PROCESSING_FAILURE
    assert not raised.value.transient


async def test_an_object_that_is_no_dicom_file_fails() -> None:
    bucket = MemoryBucket()
    key = key_of(announced(CONTENT))
    await bucket.put(key, chunks(bytes(1000)), 1000)
    with pytest.raises(DimseFailure, match="not a DICOM file"):
        await read(bucket, key, len(CONTENT))


async def test_a_reader_that_leaves_early_leaves_no_read_behind() -> None:
    bucket = MemoryBucket()
    parts = parse_key(await stored(bucket, CONTENT))
    assert parts
    async with aclosing(DataSetReader(bucket).data_set(parts, len(CONTENT))) as pieces:
        async for _ in pieces:
            break
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_the_key_of_an_instance_is_taken() -> None:
    instance = announced(CONTENT)
    assert str(checked_key(key_of(instance), instance.sha256)) == key_of(instance)


DIGEST = announced(CONTENT).sha256
FOLDER = f"instances/{DIGEST[:2]}/{DIGEST}"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "check/1",
        "../secret",
        f"{FOLDER}-../1.2.3.dcm",
        f"{FOLDER}-./1.2.3.dcm",
        f"{FOLDER}-1.2/...dcm",
        f"{FOLDER}-1.2/../1.2.3.dcm",
        f"{FOLDER}-1.2/1.2.3.dcm\n",
        f"{FOLDER}-1.2/1.2.3.dcm/..",
        f"/{FOLDER}-1.2/1.2.3.dcm",
        f"instances/{'0' * 2}/{DIGEST}-1.2/1.2.3.dcm",
        f"instances/00/{'0' * 64}-1.2/1.2.3.dcm",
        f"{FOLDER}-1.2/{'1' * 65}.dcm",
        f"{FOLDER}-1.2/1.2.3",
    ],
)
def test_any_other_key_is_refused(key: str) -> None:
    with pytest.raises(DimseFailure) as raised:
        checked_key(key, DIGEST)
    assert raised.value.status == Status.PROCESSING_FAILURE


EXPLICIT, RLE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5"
VIDEO, DEFLATED = "1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.1.99"
IMAGE = multi_frame(1, fragments(b"\1\0\0\0\x40" + bytes(59) + b"\x81\7\x81\7"))


class Failing(InProcessDecoders):
    """Decoders that fail in one way, if any."""

    def __init__(self, failure: Failure | None) -> None:
        super().__init__()
        self._failure = failure

    async def decode_frames(self, *arguments: Any) -> Any:
        if self._failure is not None:
            raise self._failure
        return await super().decode_frames(*arguments)


async def converted(
    folder: Path,
    failure: Failure | None = None,
    syntax: str = RLE,
    target: str = EXPLICIT,
    *,
    has_decoders: bool = True,
    damaged: bool = False,
) -> bytes:
    """Store an image, and return it converted."""
    instance = announced(IMAGE, syntax=syntax)
    content = IMAGE[:-20] + b"!" + IMAGE[-19:] if damaged else IMAGE
    bucket = MemoryBucket()
    whole = object_of(instance, content)
    await bucket.put(key_of(instance), chunks(whole), len(whole))
    parts = parse_key(key_of(instance))
    assert parts
    decompressor = Decompressor(Failing(failure), folder) if has_decoders else None
    async with aclosing(
        DataSetReader(bucket, decompressor).converted(parts, len(IMAGE), target)
    ) as pieces:
        return b"".join([piece async for piece in pieces])


async def test_compressed_pixels_are_decompressed(tmp_path: Path) -> None:
    result = await converted(tmp_path)
    assert result.endswith(b"OB\0\0\0\1\0\0" + b"\7" * 256)
    assert hashlib.sha256(result) != hashlib.sha256(IMAGE)


@pytest.mark.parametrize(
    ("failure", "status", "reason"),
    [
        (Undecodable("It is damaged."), Status.CANNOT_UNDERSTAND, "It is damaged"),
        (DecodersMissing("No [pixels]."), Status.TRANSFER_SYNTAX_NOT_SUPPORTED, "No .pixels."),
        (LimitExceeded("It is large."), Status.OUT_OF_RESOURCES, "It is large"),
    ],
)
async def test_what_cannot_be_decoded_says_what_would_help(
    tmp_path: Path, failure: Failure, status: Status, reason: str
) -> None:
    with pytest.raises(DimseFailure, match=f"Let the receiver accept .*{RLE}: {reason}") as raised:
        await converted(tmp_path, failure)
    assert (raised.value.status, raised.value.transient) == (status, False)


async def test_a_decoder_that_crashed_fails_this_one(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="crashed"):
        await converted(tmp_path, Failure("The decoder crashed"))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"has_decoders": False}, "this ingestion service has no decoders"),
        ({"syntax": VIDEO}, "its pixels can't be decoded"),
        ({"target": DEFLATED}, "nothing is converted to 1.2.840.10008.1.2.1.99"),
    ],
)
async def test_what_is_never_decoded_is_not_read(
    tmp_path: Path, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(DimseFailure, match=reason) as raised:
        await converted(tmp_path, **options)
    assert raised.value.status == Status.TRANSFER_SYNTAX_NOT_SUPPORTED


def deflated(content: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = deflater.compress(content) + deflater.flush()
    return packed + bytes(len(packed) % 2)


async def re_encoded(packed: bytes, maximum: int) -> list[bytes]:
    """Store a deflated data set, and return the pieces of the re-encoded one."""
    instance, bucket = announced(packed, syntax=DEFLATED), MemoryBucket()
    whole = object_of(instance, packed)
    await bucket.put(key_of(instance), chunks(whole), len(whole))
    parts = parse_key(key_of(instance))
    assert parts
    reader = DataSetReader(bucket, maximum_converted=maximum)
    async with aclosing(reader.converted(parts, len(packed), EXPLICIT)) as pieces:
        return [piece async for piece in pieces]


async def test_a_deflated_data_set_is_converted_up_to_the_maximum_in_bounded_pieces() -> None:
    content = data_set(pixels=bytes(8 * 2**20))
    pieces = await re_encoded(deflated(content), len(content))
    assert b"".join(pieces)[-(8 * 2**20) :] == bytes(8 * 2**20)
    assert max(len(piece) for piece in pieces) <= 2**19


async def test_a_deflated_data_set_beyond_the_maximum_fails_before_its_first_byte() -> None:
    content = data_set(pixels=bytes(8 * 2**20))
    sentence = (
        f"Let the receiver accept transfer syntax {DEFLATED}: "
        f"Inflated it has more than {len(content) - 1} bytes"
    )
    with pytest.raises(DimseFailure, match=sentence) as raised:
        await re_encoded(deflated(content), len(content) - 1)
    assert (raised.value.status, raised.value.transient) == (Status.OUT_OF_RESOURCES, False)


async def test_what_is_not_deflated_fails_as_damaged() -> None:
    with pytest.raises(DimseFailure, match="damaged") as raised:
        await re_encoded(b"\xff" * 1000, 100)
    assert raised.value.status == Status.CANNOT_UNDERSTAND


async def test_a_damaged_object_is_not_decoded(tmp_path: Path) -> None:
    with pytest.raises(DimseFailure, match="does not have its digest"):
        await converted(tmp_path, damaged=True)
