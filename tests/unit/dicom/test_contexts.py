import re

import pytest
from pydicom._uid_dict import UID_dictionary

from dimse_ingestion.dicom import contexts, uids
from dimse_ingestion.dicom.contexts import context_policy

CT, PRIVATE = "1.2.840.10008.5.1.4.1.1.2", "1.3.46.670589.11.0.0.12.1"
JPEG, J2K = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90"


@pytest.mark.parametrize("storage_class", [CT, PRIVATE, "1.2.840.10008.5.1.4.1.1.999"])
@pytest.mark.parametrize("syntax", [JPEG, J2K, uids.EXPLICIT_VR_BIG_ENDIAN, "1.2.3.4"])
def test_every_storage_class_in_every_transfer_syntax(storage_class: str, syntax: str) -> None:
    assert context_policy()(storage_class, (syntax,)) == syntax


def test_the_requestors_first_transfer_syntax_wins() -> None:
    assert context_policy()(CT, (JPEG, uids.IMPLICIT_VR_LITTLE_ENDIAN)) == JPEG


@pytest.mark.parametrize(
    "service",
    [
        "1.2.840.10008.1.20.1",
        "1.2.840.10008.1.3.10",
        "1.2.840.10008.5.1.4.31",
        "1.2.840.10008.5.1.4.1.2.2.2",
        "1.2.840.10008.5.1.1.9",
        "1.2.840.10008.5.1.4.38.2",
        "1.2.840.10008.5.1.4.1.1.200.4",
        "1.2.840.10008.1.20.1.1",
        "1.2.840.10008.1.2.1",
    ],
)
def test_other_services_are_not_taken_for_storage(service: str) -> None:
    assert context_policy()(service, (uids.IMPLICIT_VR_LITTLE_ENDIAN,)) is None


def test_every_class_of_objects_of_no_patient_is_refused() -> None:
    """By their names, so that one which a new edition adds is not forgotten."""
    kinds = "Defined Procedure Protocol|Approval|Inventory|Hanging|Color Palette|Template"
    named = {
        uid
        for uid, (name, kind, *_) in UID_dictionary.items()
        if kind == "SOP Class" and re.search(rf"({kinds}).* Storage$", name)
    }
    assert named == contexts.NON_PATIENT
    for uid in named:
        assert context_policy()(uid, (uids.EXPLICIT_VR_LITTLE_ENDIAN,)) is None
        assert context_policy((uid,))(uid, (uids.EXPLICIT_VR_LITTLE_ENDIAN,)) is None


def test_a_query_is_never_compressed() -> None:
    assert context_policy()(uids.STUDY_ROOT_FIND, (JPEG,)) == ""


def test_lists_narrow_what_is_stored() -> None:
    choose = context_policy((CT,), (J2K,))
    assert choose(PRIVATE, (J2K,)) is None
    assert choose(CT, (JPEG, J2K)) == J2K
    assert choose(CT, (JPEG,)) == ""
    assert choose(uids.VERIFICATION, (uids.IMPLICIT_VR_LITTLE_ENDIAN,)) != ""


@pytest.mark.parametrize(
    "rare",
    [
        "1.2.840.10008.5.1.1.27",  # Stored Print Storage, retired
        "1.2.840.10008.5.1.4.34.7",  # RT Beams Delivery Instruction Storage
        "1.2.840.10008.5.1.4.1.1.200.2",  # CT Performed Procedure Protocol Storage
        "1.2.840.10008.5.1.4.1.1.40",  # retired, without a name
        "not even a UID",
    ],
)
def test_rare_storage_classes_are_not_taken_for_services(rare: str) -> None:
    assert context_policy()(rare, (JPEG,)) == JPEG


def test_storage_commitment_is_accepted_where_it_is_enabled() -> None:
    choose = context_policy((CT,), (J2K,), commitment=True)
    both = (uids.EXPLICIT_VR_BIG_ENDIAN, uids.IMPLICIT_VR_LITTLE_ENDIAN)
    assert choose(uids.STORAGE_COMMITMENT, both) == uids.IMPLICIT_VR_LITTLE_ENDIAN
    assert choose(uids.STORAGE_COMMITMENT, (J2K,)) == ""
    assert choose("1.2.840.10008.1.20.2", both) is None
