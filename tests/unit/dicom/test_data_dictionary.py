"""The tables of PS3.6 are those of the installed pydicom, and services read them without it."""

import subprocess
import sys

import pytest
from pydicom import datadict

from dimse_ingestion.dicom.data_dictionary import Attribute, attribute, registered_uid, tag_of
from harness import dicom_tables
from harness.dicom_tables import of_pydicom


@pytest.mark.parametrize("name", sorted(dicom_tables.tables()))
def test_a_table_is_that_of_pydicom(name: str) -> None:
    found = (dicom_tables.TABLES / name).read_text(encoding="utf-8")
    assert found == dicom_tables.tables()[name], "run python -m harness.dicom_tables"


def test_each_attribute_is_found_by_its_tag_and_its_keyword() -> None:
    for tag, (vr, _, _, _, keyword) in of_pydicom("_dicom_dict.py", "DicomDictionary").items():
        assert attribute(tag) == Attribute(vr, keyword)
        if keyword:
            assert tag_of(keyword) == tag
    assert tag_of("NoSuchKeyword") is None
    assert tag_of("") is None


@pytest.mark.parametrize("digit", "08C")
def test_an_attribute_of_a_repeating_group_is_found_in_each_of_its_groups(digit: str) -> None:
    for pattern in of_pydicom("_dicom_dict.py", "RepeatersDictionary"):
        tag = int(pattern.replace("x", digit), 16)
        if tag >> 16 & 1:
            continue
        expected = Attribute(datadict.dictionary_VR(tag), datadict.dictionary_keyword(tag))
        assert attribute(tag) == expected, f"{tag:08X}"


@pytest.mark.parametrize("tag", [0x00091001, 0x60013000, 0x00080007, 0x61010010])
def test_private_and_unknown_tags_have_none(tag: int) -> None:
    assert attribute(tag) is None


def test_each_registered_uid_has_its_type_and_name() -> None:
    for uid, (name, kind, *_) in of_pydicom("_uid_dict.py", "UID_dictionary").items():
        assert registered_uid(uid) == (kind, name)
    assert registered_uid("1.2.3.4") is None


@pytest.mark.parametrize("service", ["proxy", "ingestion", "catalogue", "dicomweb"])
def test_no_service_imports_pydicom_or_numpy(service: str) -> None:
    imports = f"import sys, dimse_ingestion.{service}.app"
    program = f"{imports}; print({{'pydicom', 'numpy'}} & {{*sys.modules}})"
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "set()"
