"""What senders get wrong, and how far it is read all the same; what is bounded."""

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import pytest

from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.limits import ParserLimits
from dimse_ingestion.dicom.scanner import Scanner, scan
from dimse_ingestion.dicom.status import Status

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
DEFLATED, JPIP_DEFLATED = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95"
UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD


def tag(number: int) -> bytes:
    return struct.pack("<HH", number >> 16, number & 0xFFFF)


def short(number: int, vr: bytes, value: bytes) -> bytes:
    return tag(number) + vr + struct.pack("<H", len(value)) + value


def long(number: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    length = len(value) if length is None else length
    return tag(number) + vr + struct.pack("<2xI", length) + value


def marker(number: int, length: int = 0) -> bytes:
    return tag(number) + struct.pack("<I", length)


def item(content: bytes, length: int | None = None) -> bytes:
    return marker(ITEM, len(content) if length is None else length) + content


BEFORE = short(0x00080018, b"UI", b"1.2.3\0")
AFTER = short(0x00100020, b"LO", b"4711")
CODE = short(0x00080100, b"SH", b"A ")
IMPLICIT_CODE = tag(0x00080100) + struct.pack("<I", 2) + b"A "
MEANT = [[Element("0008", "0100", "SH", "A")]]


def between(data: bytes, syntax: str = EXPLICIT) -> Element:
    """Return the one element that is read between two others, which are read as well."""
    before, found, after = scan(BEFORE + data + AFTER, syntax)
    assert (before.value, after.value) == ("1.2.3", "4711")
    return found


@pytest.mark.parametrize("vr", [b"SQ", b"UN"])
@pytest.mark.parametrize(
    "value",
    [
        b"junk",
        b"junkjunk",
        b"junkjunkjunkjunk",
        marker(ITEM, 255) + b"junkjunk",
        item(b"\x08\0\0\1SH\x20\0A "),
        item(b"\x08\0\0\1UT\0\0"),
        item(CODE) + bytes(4),
        item(CODE) + bytes(8),
        item(CODE) + marker(SEQUENCE_END) + b"behind",
        item(CODE)[:-1] + marker(ITEM_END),
    ],
)
def test_a_sequence_without_valid_items_is_stored_as_bytes(vr: bytes, value: bytes) -> None:
    found = between(long(0x00081115, vr, value))
    assert (found.vr, found.items) == ("UN", None)
    assert found.inline_binary


def test_a_long_value_without_items_becomes_a_reference() -> None:
    value = item(CODE) * 100 + b"junkjunk"
    found = between(long(0x00081115, b"UN", value))
    assert found.bulk is not None
    assert (found.vr, found.bulk.offset, found.bulk.length) == ("UN", len(BEFORE) + 12, len(value))


@pytest.mark.parametrize(
    ("data", "meant"),
    [
        (long(0x00081115, b"UN", item(IMPLICIT_CODE)), MEANT),
        (long(0x00081115, b"SQ", item(CODE, UNDEFINED)), MEANT),
        (long(0x00081115, b"SQ", item(CODE, UNDEFINED) + marker(ITEM_END)), MEANT),
        (long(0x00081115, b"SQ", item(CODE) + marker(SEQUENCE_END)), MEANT),
        (long(0x00081115, b"SQ", item(CODE + marker(ITEM_END))), MEANT),
        (long(0x00081115, b"SQ", item(CODE) + marker(SEQUENCE_END), UNDEFINED), MEANT),
        (long(0x00081115, b"SQ", b""), []),
    ],
)
def test_items_are_read_with_lengths_and_with_delimiters(
    data: bytes, meant: list[list[Element]]
) -> None:
    assert (between(data).items or []) == meant


def test_a_broken_sequence_costs_no_more_than_itself() -> None:
    broken = long(0x00081115, b"SQ", b"junkjunk")
    outer = between(long(0x00081140, b"SQ", item(broken + AFTER)))
    assert [[each.vr for each in inner] for inner in outer.items or []] == [["UN", "LO"]]


@pytest.mark.parametrize("vr", [b"??", b"--", b"\0\0", b"  ", b"OX", b"XX", b"aa", b"1A", b"Ob"])
def test_a_vr_that_is_none_costs_no_element(vr: bytes) -> None:
    assert (between(short(0x00091002, vr, b"ABCD")).vr) == "UN"
    assert between(short(0x00080060, vr, b"CT")) == Element("0008", "0060", "CS", "CT")


def test_a_vr_that_was_forgotten_costs_no_element() -> None:
    assert between(tag(0x00080060) + struct.pack("<I", 2) + b"CT").value == "CT"


def test_elements_name_only_vrs_of_the_standard() -> None:
    assert between(short(0x00080068, b"UK", b"FOR PRESENTATION")).vr == "CS"
    assert between(long(0x00091002, b"XX", b"ABCD")).vr == "UN"
    assert between(long(0x00081115, b"ZZ", item(IMPLICIT_CODE))).items == MEANT


@pytest.mark.parametrize("zeros", [1, 6, 7, 8, 12, 16, 1001])
def test_zeros_behind_the_last_element_are_padding(zeros: int) -> None:
    assert len(scan(BEFORE + AFTER + bytes(zeros), EXPLICIT)) == 2


@pytest.mark.parametrize("rest", [b"\n", b"\0\0\1", b"junk", b"junkjunk", marker(SEQUENCE_END)])
def test_other_bytes_behind_the_last_element_are_refused(rest: bytes) -> None:
    with pytest.raises(DimseFailure):
        scan(BEFORE + AFTER + rest, EXPLICIT)


def test_a_stray_item_delimitation_is_passed_over() -> None:
    read = scan(BEFORE + marker(ITEM_END) + AFTER + marker(ITEM_END), EXPLICIT)
    assert [each.value for each in read] == ["1.2.3", "4711"]


def test_item_delimitations_within_pixels_are_pixels() -> None:
    pixels = marker(ITEM_END) * 4
    (found,) = scan(long(0x7FE00010, b"OW", pixels), EXPLICIT)
    assert found.bulk is not None
    assert found.bulk.length == len(pixels)


def test_of_two_elements_with_one_tag_the_first_counts() -> None:
    twice = short(0x00080100, b"SH", b"A ") + short(0x00080100, b"SH", b"B ")
    assert between(long(0x00081115, b"SQ", item(twice))).items == MEANT
    assert [each.value for each in scan(twice, EXPLICIT)] == ["A"]


@pytest.mark.parametrize("group", [0x0000, 0x0004, 0x0006])
def test_elements_of_commands_and_directories_are_not_believed(group: int) -> None:
    stray = short(group << 16 | 0x0016, b"UI", b"9.9\0")
    assert [each.value for each in scan(stray + BEFORE, EXPLICIT)] == ["1.2.3"]
    assert between(long(0x00081115, b"SQ", item(stray + CODE))).items == MEANT


def test_file_meta_information_in_a_data_set_is_refused() -> None:
    with pytest.raises(DimseFailure, match="group 0002") as failure:
        scan(short(0x00020010, b"UI", b"1.2\0") + BEFORE, EXPLICIT)
    assert failure.value.status == Status.CANNOT_UNDERSTAND


def test_file_meta_information_in_an_item_is_not_believed() -> None:
    stray = short(0x00020010, b"UI", b"9.9\0")
    assert between(long(0x00081115, b"SQ", item(stray + CODE))).items == MEANT
    assert between(long(0x00081115, b"SQ", item(CODE + stray))).items == MEANT


def test_group_lengths_are_passed_over_whatever_they_say() -> None:
    lengths = short(0x00080000, b"UL", b"\xff" * 4) + short(0x00100000, b"UL", b"\0\0")
    assert len(scan(lengths + BEFORE, EXPLICIT)) == 1


def test_a_private_sequence_in_implicit_vr_is_read_where_it_ends_by_a_delimiter() -> None:
    items = item(IMPLICIT_CODE) + marker(SEQUENCE_END)
    data = tag(0x00091010) + struct.pack("<I", UNDEFINED) + items
    (found,) = scan(data, IMPLICIT)
    assert found.items == MEANT


def deflated(data: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(data) + deflater.flush()


@pytest.mark.parametrize("rest", [b"", b"\0", b"anything at all"])
@pytest.mark.parametrize("syntax", [DEFLATED, JPIP_DEFLATED])
def test_what_follows_the_deflated_stream_is_not_read(rest: bytes, syntax: str) -> None:
    assert scan(deflated(BEFORE) + rest, syntax) == scan(BEFORE, EXPLICIT)


def test_a_sequence_below_the_limit_is_stored_whatever_it_costs() -> None:
    contents = (
        b"",
        CODE,
        short(0x00189305, b"FL", struct.pack("<60f", *[-1.1754943508222875e-38] * 60)),
        short(0x00080100, b"SH", b"\1" * 16),
    )
    for content in contents:
        each = item(content)
        most = ParserLimits(sequence=2**16, retained=30 * 2**14)  # the shares of the defaults
        scanner = Scanner(EXPLICIT, most)
        number = 2**16 // len(each)
        scanner.feed(long(0x00081115, b"SQ", each * number) + AFTER)
        sequence, _ = scanner.finish()
        assert len(sequence.items or []) == number


def test_sequences_leave_budget_for_the_elements_after_them() -> None:
    sequences = b"".join(long(0x00410010 + number, b"SQ", item(CODE) * 500) for number in range(10))
    scanner = Scanner(EXPLICIT, ParserLimits(retained=100_000))
    scanner.feed(sequences + AFTER)
    read = scanner.finish()
    assert read[0].items is not None
    assert read[-2].bulk is not None
    assert read[-1].value == "4711"


def test_text_that_is_too_much_in_all_becomes_references() -> None:
    texts = b"".join(long(0x00410010 + number, b"UT", b"A" * 1000) for number in range(20))
    scanner = Scanner(EXPLICIT, ParserLimits(retained=10_000))
    scanner.feed(texts + AFTER)
    read = scanner.finish()
    assert len(read[0].value) == 1000
    assert read[-2].bulk is not None
    assert read[-2].bulk.length == 1000
    assert read[-1].value == "4711"


def endless(begin: bytes, part: bytes) -> Iterator[bytes]:
    yield begin
    while True:
        yield part * (8192 // len(part))


PIXELS = long(0x7FE00010, b"OB", b"", UNDEFINED)
SEQUENCE = long(0x00081115, b"SQ", b"", UNDEFINED)


@pytest.mark.parametrize(
    ("begin", "part"),
    [
        (PIXELS, marker(ITEM)),
        (PIXELS, item(b"AB")),
        (SEQUENCE, marker(ITEM)),
        (SEQUENCE, item(b"", UNDEFINED) + marker(ITEM_END)),
        (SEQUENCE + item(b"", UNDEFINED), CODE),
        (b"", marker(ITEM_END)),
        (b"", bytes(8)),
    ],
)
def test_more_parts_than_may_be_read_are_refused(begin: bytes, part: bytes) -> None:
    scanner = Scanner(EXPLICIT, ParserLimits(parts=10_000))
    refusal = first_failure(scanner, islice(endless(begin, part), 128))
    assert refusal.status == Status.CANNOT_UNDERSTAND
    assert "more than 10000 elements and fragments" in refusal.comment


def first_failure(scanner: Scanner, chunks: Iterable[bytes]) -> DimseFailure:
    for chunk in chunks:
        try:
            scanner.feed(chunk)
        except DimseFailure as failure:
            return failure
    pytest.fail("nothing was refused")


def test_a_deflated_data_set_may_not_inflate_without_end() -> None:
    bomb = deflated(long(0x7FE00010, b"OW", b"", 2**30) + bytes(2**22))
    scanner = Scanner(DEFLATED, ParserLimits(inflated=2**20))
    with pytest.raises(DimseFailure, match="Inflated"):
        scanner.feed(bomb)
    with pytest.raises(DimseFailure, match="Inflated"):
        scanner.finish()


def slices(data: bytes, syntax: str = EXPLICIT) -> int:
    return sum(1 for _ in Scanner(syntax).feed_in_slices(data))


@pytest.mark.parametrize("wrapped", [bytes, deflated])
@pytest.mark.parametrize(
    "data",
    [
        PIXELS + marker(ITEM) * 50_000,
        SEQUENCE + marker(ITEM) * 50_000,
        SEQUENCE + item(b"", UNDEFINED) + CODE * 50_000,
        CODE * 50_000,
        b"".join(long(0x00410010 + n, b"UT", b"A" * 60_000) for n in range(400)),
    ],
    ids=["fragments", "items", "elements of an item", "elements", "text"],
)
def test_much_work_is_done_in_slices(data: bytes, wrapped: Callable[[bytes], bytes]) -> None:
    syntax = EXPLICIT if wrapped is bytes else DEFLATED
    assert slices(wrapped(data), syntax) >= 45


def test_an_ordinary_data_set_is_read_in_one_slice() -> None:
    assert slices(BEFORE + AFTER + long(0x7FE00010, b"OW", bytes(2**20))) == 0
