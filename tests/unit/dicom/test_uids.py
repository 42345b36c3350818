import pytest

from dimse_ingestion.dicom import uids


@pytest.mark.parametrize("uid", ["1", "1.2.840.10008.1.1", "1.2.03", "1." * 31 + "12"])
def test_numbers_and_dots_are_a_uid(uid):
    assert uids.is_valid(uid)


@pytest.mark.parametrize(
    "uid",
    ["", ".", "1.", ".1", "1..2", "1a", "../1", "1/2", "1 ", "1\n", "1\0", "１.２", "1" * 65],
)
def test_what_could_leave_its_place_in_a_key_is_none(uid):
    assert not uids.is_valid(uid)
