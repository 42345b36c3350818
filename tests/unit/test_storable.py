"""The list of what can't be stored, held to the files themselves."""

import pytest
from pydicom import dcmread

from dimse_ingestion.dicom.elements import by_tag
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.scanner import scan
from dimse_ingestion.dicom.uids import is_valid
from tests.storable import NOT_STORABLE, Shipped, data_set_of, shipped

NEEDED = {0x00080016, 0x00080018, 0x0020000D, 0x0020000E}


def is_instance(file: Shipped) -> bool:
    try:
        data_set = data_set_of(file.path)
        syntax = dcmread(file.path, stop_before_pixels=True).file_meta.TransferSyntaxUID
        found = by_tag(scan(data_set, syntax))
    except (AttributeError, DimseFailure, ValueError):
        return False
    return all(tag in found and is_valid(found[tag].value) for tag in NEEDED)


@pytest.mark.parametrize("file", list(shipped()), ids=lambda each: each.name)
def test_a_file_is_storable_exactly_if_it_names_itself_and_its_study_and_is_whole(
    file: Shipped,
) -> None:
    assert is_instance(file) is (file.reason == "")


def test_no_reason_is_given_for_a_file_that_is_not_there() -> None:
    assert NOT_STORABLE.keys() <= {each.name for each in shipped()}
