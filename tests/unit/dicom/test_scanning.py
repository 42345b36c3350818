import random
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.multival import MultiValue

from dimse_ingestion.dicom.elements import Element, by_tag
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.scanning import Limits, Scanner, scanned
from dimse_ingestion.dicom.status import Status
from tests.storable import NOT_STORABLE, data_set_of, shipped

EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
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
        scanned(data, syntax)
    except DimseFailure as failure:
        return failure.status
    return "read"


def text_of(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, MultiValue | list):
        return "\\".join(str(each).rstrip(" ") for each in value)
    return str(value)


def assert_alike(mine: list[Element], theirs: Dataset) -> None:
    found = by_tag(mine)
    for each in theirs:
        if each.tag.element == 0 or each.tag == 0xFFFCFFFC:
            continue
        element = found.pop(int(each.tag))
        if element.bulk is not None or element.inline_binary is not None:
            continue
        if element.items is not None:
            for item, sub_data_set in zip(element.items, each.value, strict=True):
                assert_alike(item, sub_data_set)
        elif each.VR not in ("FL", "FD", "DS", "IS", "AT", "UN"):
            stripped = "\\".join(value.rstrip(" ") for value in element.value.split("\\"))
            assert stripped.rstrip("=") == text_of(each.value).rstrip("="), hex(each.tag)
    assert not found


@pytest.mark.parametrize("file", READABLE, ids=lambda each: each.name)
def test_reads_what_pydicom_reads(file):
    theirs = dcmread(file.path)
    assert_alike(scanned(data_set_of(file.path), theirs.file_meta.TransferSyntaxUID), theirs)


@pytest.mark.parametrize("file", READABLE[::7], ids=lambda each: each.name)
def test_chunks_of_any_size_change_nothing(file):
    data_set = data_set_of(file.path)[:40_000]
    syntax = dcmread(file.path, stop_before_pixels=True).file_meta.TransferSyntaxUID
    sizes = random.Random(file.name)
    one, other = Scanner(syntax), Scanner(syntax)
    one.feed(data_set)
    place = 0
    while place < len(data_set):
        step = sizes.choice((1, 1, 2, 7, 100, 5000))
        other.feed(data_set[place : place + step])
        place += step
    assert other.elements == one.elements


@pytest.mark.parametrize("file", READABLE[::5], ids=lambda each: each.name)
def test_a_reference_points_to_the_very_bytes(file):
    data_set = data_set_of(file.path)
    theirs = dcmread(file.path)
    if theirs.file_meta.TransferSyntaxUID == DEFLATED:
        data_set = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data_set)
    for each in scanned(data_set_of(file.path), theirs.file_meta.TransferSyntaxUID):
        if each.bulk is not None and each.vr in ("OB", "OW", "UN") and each.items is None:
            value = data_set[each.bulk.offset : each.bulk.offset + each.bulk.length]
            assert value == theirs[each.tag].value[: len(value)]


@pytest.mark.parametrize("name", sorted(ENDS_EARLY))
def test_a_data_set_that_ends_early_is_told(name):
    (file,) = [each for each in shipped() if each.name == name]
    syntax = dcmread(file.path, stop_before_pixels=True).file_meta.TransferSyntaxUID
    with pytest.raises(DimseFailure, match="ends early") as failure:
        scanned(data_set_of(file.path), syntax)
    assert failure.value.status == Status.CANNOT_UNDERSTAND


def test_a_deflated_data_set_that_ends_early_is_told():
    (file,) = [each for each in shipped() if each.name == "image_dfl.dcm"]
    with pytest.raises(DimseFailure, match="ends early"):
        scanned(data_set_of(file.path)[:-200], DEFLATED)


def test_what_is_not_deflated_is_told():
    with pytest.raises(DimseFailure, match="deflated"):
        scanned(b"\xff" * 100, DEFLATED)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([EXPLICIT, IMPLICIT, DEFLATED]))
def test_garbage_gives_elements_or_a_failure_and_nothing_else(data, syntax):
    assert outcome(data, syntax) in ("read", Status.CANNOT_UNDERSTAND)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_damaged_image_gives_elements_or_a_failure_and_nothing_else(data):
    (file,) = [each for each in shipped() if each.name == "reportsi.dcm"]
    damaged = bytearray(data_set_of(file.path))
    for _ in range(3):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    assert outcome(bytes(damaged), EXPLICIT) in ("read", Status.CANNOT_UNDERSTAND)


def explicit(tag: bytes, vr: bytes, length: int) -> bytes:
    return tag + vr + b"\0\0" + length.to_bytes(4, "little")


def test_pixel_data_is_passed_over_without_being_kept():
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


def test_a_sequence_too_large_to_carry_becomes_a_reference():
    item = b"\xfe\xff\x00\xe0" + (10).to_bytes(4, "little") + b"\x08\x00\x05\x00CS\x02\x00AB"
    items = item * 50
    data_set = explicit(b"\x08\x00\x15\x11", b"SQ", len(items)) + items
    scanner = Scanner(EXPLICIT, Limits(sequence=20 * 256))
    scanner.feed(data_set)
    (sequence,) = scanner.finish()
    assert sequence.bulk is not None
    assert (sequence.bulk.offset, sequence.bulk.length) == (12, len(items))


def test_sequences_nested_without_end_are_refused():
    nested = (
        explicit(b"\x08\x00\x15\x11", b"SQ", 0xFFFFFFFF) + b"\xfe\xff\x00\xe0" + b"\xff" * 4
    ) * 100
    with pytest.raises(DimseFailure, match="nested"):
        scanned(nested, EXPLICIT)


def test_more_elements_than_can_be_taken_are_refused():
    scanner = Scanner(EXPLICIT, Limits(kept=10 * 256))
    with pytest.raises(DimseFailure, match="more elements"):
        scanner.feed(b"\x09\x00\x01\x10LO\x02\x00AB" * 11)
