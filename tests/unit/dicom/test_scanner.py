import random
import struct
import tracemalloc
import zlib
from base64 import b64decode
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import DataElement, Dataset, dcmread
from pydicom.multival import MultiValue

from dimse_ingestion.dicom.elements import BulkReference, Element, by_tag
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.limits import ParserLimits
from dimse_ingestion.dicom.scanner import Scanner, scan
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.dicom.uids import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN
from dimse_ingestion.dicom.value_representations import in_byte_order
from tests.storable import NOT_STORABLE, Shipped, data_set_of, shipped

EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
ENDS_EARLY = {name for name, why in NOT_STORABLE.items() if "in the middle" in why}
READABLE = [
    each
    for each in shipped()
    if "meta" not in each.reason and "no image" not in each.reason and each.name not in ENDS_EARLY
    if each.name != "DICOMDIR-nooffset"
]


def outcome(data: bytes, syntax: str) -> "str | Status":
    try:
        scan(data, syntax)
    except DimseFailure as failure:
        return failure.status
    return "read"


OPEN_VRS = {"US or SS": ("US", "SS"), "OB or OW": ("OB", "OW"), "US or OW": ("OW",)}
PIXEL_DATA = 0x7FE00010


def syntax_of(path: Path) -> str:
    return dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID


def inflated(file: Shipped) -> bytes:
    """Return the inflated data set, in which offsets count."""
    data_set = data_set_of(file.path)
    if syntax_of(file.path) != DEFLATED:
        return data_set
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data_set)


def assert_alike(mine: list[Element], theirs: Dataset, data_set: bytes) -> None:
    """Assert that all elements are pydicom's, except private VRs that it knows by name."""
    found = by_tag(mine)
    for each in theirs:
        if each.tag.element == 0 or each.tag == 0xFFFCFFFC or each.tag.group in (2, 4, 6):
            continue
        element = found.pop(int(each.tag))
        private = each.tag.is_private and element.vr == "UN"
        vrs = OPEN_VRS.get(each.VR, (each.VR,))
        assert private or element.vr in vrs or each.tag == PIXEL_DATA, each.tag
        if element.items is not None:
            for item, sub_data_set in zip(element.items, each.value, strict=True):
                assert_alike(item, sub_data_set, data_set)
        elif element.bulk is not None:
            assert_bulk(element.bulk, each, data_set)
        elif not private or each.VR == "UN":
            assert_value(element, each, ">" if theirs.original_encoding[1] is False else "<")
    assert not found


def assert_bulk(bulk: BulkReference, theirs: DataElement, data_set: bytes) -> None:
    value = data_set[bulk.offset : bulk.offset + bulk.length]
    assert len(value) == bulk.length
    if isinstance(theirs.value, bytes):
        assert theirs.value[: bulk.length] == value
        assert not theirs.value[bulk.length :].strip(b"\0")
    else:
        numbers = theirs.value if isinstance(theirs.value, MultiValue | list) else [theirs.value]
        assert bulk.length == len(numbers) * 2


def assert_value(element: Element, theirs: DataElement, order: str) -> None:
    value = theirs.value
    if value is None:
        assert element.value == ""
    elif isinstance(value, bytes):
        little = in_byte_order(value, element.vr, order)  # pydicom gives the bytes as they stand
        assert b64decode(element.inline_binary or "") == little
    elif element.vr in ("LT", "ST", "UT", "UR"):
        assert element.value == str(value).rstrip(" ")
    else:
        values = list(value) if isinstance(value, MultiValue | list) else [value]
        assert len(element.values) == len(values) or not any(map(str, values))
        for my_value, their_value in zip(element.values, values, strict=False):
            assert_one_value(element.vr, my_value, their_value)


def assert_one_value(vr: str, mine: str, theirs: object) -> None:
    if vr in ("FL", "FD", "DS", "IS"):
        assert mine.strip() == str(theirs).strip() or float(mine) == float(str(theirs))
    elif vr in ("US", "SS", "UL", "SL", "UV", "SV"):
        assert int(mine) == theirs
    elif vr == "AT":
        assert int(mine, 16) == theirs
    else:
        assert mine.rstrip(" ").rstrip("=") == str(theirs).rstrip(" ").rstrip("=")


@pytest.mark.parametrize("file", READABLE, ids=lambda each: each.name)
def test_reads_what_pydicom_reads_and_refers_to_the_very_bytes(file: Shipped) -> None:
    theirs = dcmread(file.path)
    syntax = theirs.file_meta.TransferSyntaxUID
    mine = scan(data_set_of(file.path), syntax)
    assert_alike(mine, theirs, inflated(file))


@pytest.mark.parametrize("file", READABLE, ids=lambda each: each.name)
def test_chunks_of_any_size_change_nothing(file: Shipped) -> None:
    data_set = data_set_of(file.path)
    syntax = syntax_of(file.path)
    sizes = random.Random(file.name)
    scanner = Scanner(syntax)
    place = 0
    while place < len(data_set):
        step = sizes.choice((1, 1, 2, 7, 100, 5000)) if place < 20_000 else 2**18
        scanner.feed(data_set[place : place + step])
        place += step
    assert scanner.finish() == scan(data_set, syntax)


@pytest.mark.parametrize("file", [each for each in READABLE if each.path.stat().st_size < 4000])
def test_one_byte_at_a_time_changes_nothing(file: Shipped) -> None:
    data_set = data_set_of(file.path)
    scanner = Scanner(syntax_of(file.path))
    for place in range(len(data_set)):
        scanner.feed(data_set[place : place + 1])
    assert scanner.finish() == scan(data_set, syntax_of(file.path))


_TAGS = (
    *(0x00080000, 0x00080005, 0x00100010, 0x00280103, 0x60003000),
    *(0x7FE00001, 0x7FE00008, 0x7FE00009, 0x7FE00010, 0xFFFCFFFC, 0xFFFE0010),
)
_VRS = ("CS", "LO", "UI", "US", "UL", "AT", "FD", "OB", "OW", "UN", "SQ", "UT", "ZZ")


@pytest.mark.parametrize("syntax", [EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN])
@pytest.mark.parametrize("tag", _TAGS, ids=hex)
def test_an_element_is_the_same_wherever_the_bytes_are_cut(tag: int, syntax: str) -> None:
    order = ">" if syntax == EXPLICIT_VR_BIG_ENDIAN else "<"
    for vr, length, end in product(_VRS, (0, 1, 4), (b"", bytes(3), bytes(8) + b"\1")):
        is_long = vr in ("OB", "OW", "UN", "SQ", "UT")
        lengths = (
            struct.pack(f"{order}HI", 0, length) if is_long else struct.pack(f"{order}H", length)
        )
        header = struct.pack(f"{order}HH2s", tag >> 16, tag & 0xFFFF, vr.encode()) + lengths
        data_set = header + bytes(range(1, length + 1)) + end
        whole = result([data_set], syntax)
        for cut in range(1, len(data_set)):
            assert result([data_set[:cut], data_set[cut:]], syntax) == whole, (vr, length, cut)


def result(pieces: list[bytes], syntax: str) -> list[Element] | str:
    """Return the elements of a data set, or the failure's sentence."""
    scanner = Scanner(syntax)
    try:
        for piece in pieces:
            scanner.feed(piece)
        return scanner.finish()
    except DimseFailure as failure:
        return str(failure)


def read_of_the_beginning(data_set: bytes, syntax: str) -> list[Element]:
    """Return the elements before the end; none where the scanner reports an early end."""
    try:
        return scan(data_set, syntax)
    except DimseFailure:
        return []


@pytest.mark.parametrize("name", ["MR_small.dcm", "reportsi.dcm", "image_dfl.dcm", "JPEG2000.dcm"])
def test_a_truncated_data_set_is_refused_or_ends_between_elements(name: str) -> None:
    (file,) = [each for each in shipped() if each.name == name]
    data_set, syntax = data_set_of(file.path), syntax_of(file.path)
    whole = scan(data_set, syntax)
    ends = range(0, len(data_set) - 1, len(data_set) // 400)
    read = [read_of_the_beginning(data_set[:end], syntax) for end in ends]
    assert all(elements == whole[: len(elements)] for elements in read)
    assert sum(map(bool, read)) < len(ends) // 8


@pytest.mark.parametrize("name", sorted(ENDS_EARLY))
def test_a_data_set_that_ends_early_is_refused(name: str) -> None:
    (file,) = [each for each in shipped() if each.name == name]
    syntax = dcmread(file.path, stop_before_pixels=True).file_meta.TransferSyntaxUID
    with pytest.raises(DimseFailure, match="ends early") as failure:
        scan(data_set_of(file.path), syntax)
    assert failure.value.status == Status.CANNOT_UNDERSTAND


def test_a_deflated_data_set_that_ends_early_is_refused() -> None:
    (file,) = [each for each in shipped() if each.name == "image_dfl.dcm"]
    with pytest.raises(DimseFailure, match="ends early"):
        scan(data_set_of(file.path)[:-200], DEFLATED)


def test_a_data_set_that_is_not_deflated_is_refused() -> None:
    with pytest.raises(DimseFailure, match="deflated"):
        scan(b"\xff" * 100, DEFLATED)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED]))
def test_garbage_gives_elements_or_a_failure_and_nothing_else(data: bytes, syntax: str) -> None:
    assert outcome(data, syntax) in ("read", Status.CANNOT_UNDERSTAND)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_damaged_image_gives_elements_or_a_failure_and_nothing_else(data: st.DataObject) -> None:
    (file,) = [each for each in shipped() if each.name == "reportsi.dcm"]
    damaged = bytearray(data_set_of(file.path))
    for _ in range(3):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    assert outcome(bytes(damaged), EXPLICIT) in ("read", Status.CANNOT_UNDERSTAND)


def explicit(tag: bytes, vr: bytes, length: int) -> bytes:
    return tag + vr + b"\0\0" + length.to_bytes(4, "little")


def test_pixel_data_is_skipped_without_being_buffered() -> None:
    scanner = Scanner(EXPLICIT)
    scanner.feed(explicit(b"\xe0\x7f\x10\x00", b"OW", 256 * 2**20))
    chunk = bytes(2**20)
    tracemalloc.start()
    for _ in range(256):
        scanner.feed(chunk)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    (pixels,) = scanner.finish()
    assert pixels.bulk is not None
    assert pixels.bulk.length == 256 * 2**20
    assert peak < 4 * 2**20


def test_a_sequence_too_large_to_carry_becomes_a_reference() -> None:
    item = b"\xfe\xff\x00\xe0" + (10).to_bytes(4, "little") + b"\x08\x00\x05\x00CS\x02\x00AB"
    items = item * 50
    data_set = explicit(b"\x08\x00\x15\x11", b"SQ", len(items)) + items
    scanner = Scanner(EXPLICIT, ParserLimits(sequence=len(items) - 1))
    scanner.feed(data_set)
    (sequence,) = scanner.finish()
    assert sequence.bulk is not None
    assert (sequence.bulk.offset, sequence.bulk.length) == (12, len(items))


def test_sequences_nested_without_end_are_refused() -> None:
    nested = (
        explicit(b"\x08\x00\x15\x11", b"SQ", 0xFFFFFFFF) + b"\xfe\xff\x00\xe0" + b"\xff" * 4
    ) * 100
    with pytest.raises(DimseFailure, match="nested"):
        scan(nested, EXPLICIT)


def test_more_elements_than_can_be_taken_are_refused() -> None:
    scanner = Scanner(EXPLICIT, ParserLimits(retained=10 * 58))
    with pytest.raises(DimseFailure, match="more elements"):
        scanner.feed(b"".join(b"\x09\x00%c\x10LO\x02\x00AB" % each for each in range(12)))


def sequence_without_end(item: bytes) -> Iterator[bytes]:
    yield explicit(b"\x08\x00\x15\x11", b"SQ", 0xFFFFFFFF)
    while True:
        yield item * (10_000 // len(item))


def sequences_without_end(item: bytes) -> Iterator[bytes]:
    sequence = explicit(b"\x08\x00\x15\x11", b"SQ", len(item) * 20) + item * 20
    while True:
        yield sequence


EMPTY_ITEM = b"\xfe\xff\x00\xe0\0\0\0\0"
FULL_ITEM = (
    b"\xfe\xff\x00\xe0"
    + (1036).to_bytes(4, "little")
    + explicit(b"\x09\x00\x01\x10", b"OB", 1024)
    + bytes(1024)
)


@pytest.mark.parametrize(
    "endless",
    [
        sequence_without_end(EMPTY_ITEM),
        sequence_without_end(FULL_ITEM),
        sequences_without_end(EMPTY_ITEM),
        sequences_without_end(FULL_ITEM),
    ],
    ids=["empty items", "full items", "sequences of empty items", "sequences of full items"],
)
def test_no_data_set_fills_the_memory(endless: Iterator[bytes]) -> None:
    limits = ParserLimits(sequence=2**15, retained=2**17)
    scanner = Scanner(EXPLICIT, limits)
    tracemalloc.start()
    fed = 0
    with suppress(DimseFailure):
        while fed < 2**19:
            piece = next(endless)
            scanner.feed(piece)
            fed += len(piece)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * limits.retained


def test_what_failed_once_takes_no_more() -> None:
    scanner = Scanner(EXPLICIT)
    with pytest.raises(DimseFailure, match="where an element should begin"):
        scanner.feed(EMPTY_ITEM)
    with pytest.raises(DimseFailure, match="where an element should begin"):
        scanner.feed(bytes(100))
    with pytest.raises(DimseFailure, match="where an element should begin"):
        scanner.finish()


def test_a_converter_that_knew_no_vrs_loses_nothing() -> None:
    uid = b"\x08\x00\x18\x00UN\0\0\x06\0\0\x001.2.3\0"
    rows = b"\x28\x00\x10\x00UN\0\0\x02\0\0\0\x07\x00"
    code = b"\xfe\xff\x00\xe0\x0a\0\0\0\x08\x00\x00\x01\x02\0\0\0AB"
    sequence = b"\x08\x00\x32\x10UN\0\0" + len(code).to_bytes(4, "little") + code
    opaque = b"\x08\x00\x40\x11UN\0\0\x04\0\0\0oops"
    read = scan(uid + rows + sequence + opaque, EXPLICIT)
    assert [each.vr for each in read] == ["UI", "US", "SQ", "UN"]
    assert [each.value for each in read] == ["1.2.3", "7", "", ""]
    assert read[2].items == [[Element("0008", "0100", "SH", "AB")]]


@pytest.mark.parametrize(("representation", "read"), [(0, ("US", "65535")), (1, ("SS", "-1"))])
def test_values_that_depend_on_pixel_representation(
    representation: int, read: tuple[str, str]
) -> None:
    signed = b"\x28\x00\x03\x01\x02\0\0\0" + bytes([representation, 0])
    smallest = scan(signed + b"\x28\x00\x06\x01\x02\0\0\0\xff\xff", IMPLICIT)[1]
    assert (smallest.vr, smallest.value) == read


def test_a_vr_yet_to_come_has_a_long_length() -> None:
    read = scan(explicit(b"\x09\x00\x01\x10", b"ZZ", 2) + b"AB", EXPLICIT)
    assert [(each.vr, each.inline_binary) for each in read] == [("UN", "QUI=")]


def test_an_item_may_have_a_character_set_of_its_own() -> None:
    def text(tag: bytes, vr: bytes, value: bytes) -> bytes:
        return tag + vr + len(value).to_bytes(2, "little") + value

    greek = "Διονυσιος "
    name = b"\x10\x00\x10\x00"
    own = text(b"\x08\0\5\0", b"CS", b"ISO_IR 126") + text(name, b"PN", greek.encode("iso8859-7"))
    inherited = text(name, b"PN", "Müller".encode("latin-1"))
    items = b"".join(
        b"\xfe\xff\x00\xe0" + len(each).to_bytes(4, "little") + each for each in (own, inherited)
    )
    sequence = explicit(b"\x08\x00\x40\x11", b"SQ", len(items)) + items
    data_set = text(b"\x08\0\5\0", b"CS", b"ISO_IR 100") + sequence + inherited
    _, read, after = scan(data_set, EXPLICIT)
    assert [item[-1].value for item in read.items or []] == [greek.strip(), "Müller"]
    assert after.value == "Müller"


@pytest.mark.parametrize(
    ("vr", "big", "little"),
    [
        ("OB", b"\x01\x02\x03\x04", b"\x01\x02\x03\x04"),
        ("UN", b"\x01\x02\x03\x04", b"\x01\x02\x03\x04"),
        ("OW", b"\x01\x02\x03\x04", b"\x02\x01\x04\x03"),
        ("OF", b"\x3f\xc0\x00\x00", b"\x00\x00\xc0\x3f"),
        ("OL", b"\x01\x02\x03\x04", b"\x04\x03\x02\x01"),
        ("OD", b"\x01\x02\x03\x04\x05\x06\x07\x08", b"\x08\x07\x06\x05\x04\x03\x02\x01"),
        ("OV", b"\x01\x02\x03\x04\x05\x06\x07\x08", b"\x08\x07\x06\x05\x04\x03\x02\x01"),
    ],
)
def test_binary_values_of_big_endian_are_stored_in_little_endian(
    vr: str, big: bytes, little: bytes
) -> None:
    value = b"\x00\x09\x10\x10" + vr.encode() + b"\0\0" + len(big).to_bytes(4, "big") + big
    item = b"\xff\xfe\xe0\x00" + len(value).to_bytes(4, "big") + value
    sequence = b"\x00\x40\xa7\x30SQ\0\0" + len(item).to_bytes(4, "big") + item
    top, nested = scan(value + sequence, BIG_ENDIAN)
    assert top.items is None
    assert nested.items is not None
    for read in (top, nested.items[0][0]):
        assert read.inline_binary is not None
        assert (read.vr, b64decode(read.inline_binary)) == (vr, little)


def test_an_unknown_value_is_little_endian_in_a_big_endian_data_set() -> None:
    lut_data = b"\x00\x28\x30\x06UN\0\0\x00\x00\x00\x04\x02\x01\x04\x03"  # PS3.5 6.2.2
    (read,) = scan(lut_data, BIG_ENDIAN)
    assert read.inline_binary is not None
    assert (read.vr, b64decode(read.inline_binary)) == ("OW", b"\x02\x01\x04\x03")
