import pytest

from dimse_ingestion.dicom import uids


@pytest.mark.parametrize("uid", ["1", "1.2.840.10008.1.1", "1.2.03", "1." * 31 + "12"])
def test_numbers_and_dots_are_a_uid(uid: str) -> None:
    assert uids.is_valid(uid)


@pytest.mark.parametrize(
    "uid",
    ["", ".", "1.", ".1", "1..2", "1a", "../1", "1/2", "1 ", "1\n", "1\0", "１.２", "1" * 65],
)
def test_what_could_leave_its_place_in_a_key_is_none(uid: str) -> None:
    assert not uids.is_valid(uid)


@pytest.mark.parametrize("value", ["1.2", "1.2\0", "1.2 ", "1.2\0\0", "1.2 \0 "])
def test_padding_at_the_end_is_no_part_of_a_uid(value: str) -> None:
    assert uids.strip_padding(value) == "1.2"


@pytest.mark.parametrize("value", [" 1.2", "1.2\t", "1.2\n", "1.2\f ", "\0001.2", "1.2\r\n"])
def test_other_blanks_are_left_for_the_check(value: str) -> None:
    assert not uids.is_valid(uids.strip_padding(value))
