import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom._dicom_dict import DicomDictionary, RepeatersDictionary

from dimse_ingestion.dicom import value_representations as representations

WRITABLE = representations.LONG_LENGTH | representations.SHORT_LENGTH
RANGES = {
    "US": (0, 2**16 - 1), "SS": (-(2**15), 2**15 - 1), "UL": (0, 2**32 - 1),
    "SL": (-(2**31), 2**31 - 1), "UV": (0, 2**64 - 1), "SV": (-(2**63), 2**63 - 1),
}  # fmt: skip


def test_every_tag_of_the_standard_has_one_vr_that_can_be_written() -> None:
    tags = [tag for tag in DicomDictionary if tag >> 16 != 0xFFFE]
    assert {representations.vr_of(tag) for tag in tags} <= WRITABLE
    assert {representations.vr_of(tag, signed=True) for tag in tags} <= WRITABLE
    assert RepeatersDictionary


@pytest.mark.parametrize(
    ("tag", "vr"),
    [
        (0x60023000, "OW"), (0x00090010, "LO"), (0x00091001, "UN"), (0x00080000, "UL"),
        (0x00081234, "UN"), (0x00280106, "US"), (0x7FE00010, "OW"), (0x00080016, "UI"),
    ],
)  # fmt: skip
def test_the_vr_of_a_tag_where_none_is_written(tag: int, vr: str) -> None:
    assert representations.vr_of(tag) == vr


@given(st.data(), st.sampled_from(sorted(RANGES)), st.sampled_from("<>"))
def test_whole_numbers_come_back(data: st.DataObject, vr: str, order: str) -> None:
    numbers = data.draw(st.lists(st.integers(*RANGES[vr]), min_size=1, max_size=5))
    text = "\\".join(map(str, numbers))
    written = representations.text_as_numbers(text, vr, order)
    assert representations.numbers_as_text(written, vr, order) == text


@given(st.floats(allow_nan=False), st.sampled_from("<>"))
def test_doubles_come_back(number: float, order: str) -> None:
    written = representations.text_as_numbers(repr(number), "FD", order)
    assert float(representations.numbers_as_text(written, "FD", order)) == number


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=5), st.sampled_from("<>"))
def test_tags_come_back(tags: list[int], order: str) -> None:
    text = "\\".join(f"{tag:08X}" for tag in tags)
    written = representations.text_as_tags(text, order)
    assert representations.tags_as_text(written, order) == text


@given(st.binary(max_size=20), st.sampled_from([*RANGES, "FL", "FD"]))
def test_bytes_of_any_length_give_the_numbers_that_are_whole(value: bytes, vr: str) -> None:
    assert isinstance(representations.numbers_as_text(value, vr, "<"), str)
