"""The records of a segment after every truncation, and after every flipped byte."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimse_ingestion.outbox.records import (
    LONGEST_METADATA,
    MARK_LENGTH,
    VERSION,
    Damage,
    Record,
    decode_marks,
    encode_mark,
    encode_metadata,
    encode_record,
    scan,
)
from tests.unit.outbox.data_sets import content, metadata

SALT = 0xC0FFEE42


def record(number: int, length: int = 40) -> bytes:
    data = content(number, length)
    return encode_record(encode_metadata(metadata(number, data)), data, SALT)


def segment(count: int) -> tuple[bytes, list[int]]:
    """Return a segment and the offset of each record's end."""
    records = [record(number) for number in range(count)]
    ends = [sum(map(len, records[: n + 1])) for n in range(count)]
    return b"".join(records), ends


def numbers(found: list[Record | Damage]) -> list[int]:
    return [int(each.metadata.operation_id[5:]) for each in found if isinstance(each, Record)]


def test_records_are_read_as_they_were_written() -> None:
    whole, _ = segment(3)
    found = list(scan(whole, SALT))
    assert numbers(found) == [0, 1, 2]
    for number, each in enumerate(found):
        assert isinstance(each, Record)
        assert each.metadata == metadata(number, content(number, 40))
        assert whole[each.data_start : each.end] == content(number, 40)


def test_the_format_on_disk_is_that_of_version_1() -> None:
    assert VERSION == 1
    assert encode_record(b"metadata", b"data set", SALT).hex() == (
        "89444f4208000000080000006e2f32a4af1cacdb6d657461646174616461746120736574"
    )


def test_a_segment_truncated_anywhere_has_the_records_before_and_says_what_is_damaged() -> None:
    whole, ends = segment(3)
    for length in range(len(whole)):
        found = list(scan(whole[:length], SALT))
        intact = sum(end <= length for end in ends)
        assert numbers(found) == list(range(intact)), length
        rest = length - (ends[intact - 1] if intact else 0)
        damages = [each for each in found if isinstance(each, Damage)]
        assert sum(each.end - each.start for each in damages) == rest, length


def test_a_segment_with_zeros_from_any_point_has_the_records_before() -> None:
    whole, ends = segment(3)
    for length in range(len(whole)):
        found = list(scan(whole[:length] + bytes(500), SALT))
        intact = [n for n, end in enumerate(ends) if end <= length]
        if numbers(found) != intact:  # the bytes that are lost may have been zeros
            assert whole[length:].startswith(bytes(ends[len(intact)] - length)), length


def test_zeros_written_ahead_are_no_damage() -> None:
    whole, _ = segment(2)
    assert all(isinstance(each, Record) for each in scan(whole + bytes(1000), SALT))
    assert list(scan(bytes(1000), SALT)) == []
    assert list(scan(b"", SALT)) == []


@pytest.mark.parametrize("flipped", [0x01, 0x80, 0xFF])
def test_a_flipped_byte_costs_its_own_record_only(flipped: int) -> None:
    whole, ends = segment(3)
    for position in range(len(whole)):
        broken = bytearray(whole)
        broken[position] ^= flipped
        found = list(scan(bytes(broken), SALT))
        hit = sum(end <= position for end in ends)
        assert numbers(found) == [n for n in range(3) if n != hit], position
        (damage,) = (each for each in found if isinstance(each, Damage))
        assert damage.start <= position < damage.end


def test_records_within_a_data_set_are_not_taken_for_records() -> None:
    forged = encode_record(encode_metadata(metadata(9, b"x")), b"x", SALT + 1)
    data = forged * 3
    outer = encode_record(encode_metadata(metadata(1, data)), data, SALT)
    broken = b"\0" * 8 + outer[8:] + record(2)
    assert numbers(list(scan(broken, SALT))) == [2]


@given(st.binary(max_size=400))
def test_no_bytes_make_it_raise(noise: bytes) -> None:
    found = list(scan(noise, SALT))
    assert not numbers(found)
    whole, _ = segment(1)
    assert numbers(list(scan(whole + noise + whole, SALT)))[:1] == [0]


def test_marks_are_read_whatever_is_damaged_between_them() -> None:
    offsets = [0, 77, 2**40]
    marks = [encode_mark(offset, SALT) for offset in offsets]
    assert decode_marks(b"".join(marks), SALT) == set(offsets)
    torn = marks[0] + marks[1][:7] + marks[2]
    assert decode_marks(torn, SALT) == {0, 2**40}
    for position in range(MARK_LENGTH):
        broken = bytearray(b"".join(marks))
        broken[MARK_LENGTH + position] ^= 0x10
        assert decode_marks(bytes(broken), SALT) == {0, 2**40}
    assert decode_marks(marks[0], SALT + 1) == set()
    assert decode_marks(random.Random(1).randbytes(999), SALT) == set()


def test_damage_before_a_data_set_full_of_long_headers_is_passed_over_in_linear_time() -> None:
    # as a sender may write it who knows the format, but not the salt
    fake = b"\x89DOB" + (8 * 2**20).to_bytes(4, "little")
    hostile = b"x" + fake * 2**20  # 8 MiB, each header claims metadata up to the end
    found = list(scan(hostile + record(1), SALT))
    assert [type(each) for each in found] == [Damage, Record]
    assert (found[0].start, found[0].end) == (0, len(hostile))


def test_long_metadata_are_refused_before_they_are_written() -> None:
    with pytest.raises(ValueError, match="65537 bytes"):
        encode_record(bytes(LONGEST_METADATA + 1), b"", SALT)
