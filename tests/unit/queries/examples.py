"""Example instances for the tests of this package."""

from dimse_ingestion.dicom.elements import Element, element

NAME, PATIENT, STUDY, SERIES, INSTANCE = (
    0x00100010,
    0x00100020,
    0x0020000D,
    0x0020000E,
    0x00080018,
)


def instance(patient: str, study: str, series: str, uid: str, **more: str) -> list[Element]:
    return [
        element(0x00080005, "CS", more.get("character_set", "")),
        element(0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.2"),
        element(INSTANCE, "UI", uid),
        element(0x00080060, "CS", more.get("modality", "CT")),
        element(NAME, "PN", more.get("name", "Doe^Jane")),
        element(PATIENT, "LO", patient),
        element(STUDY, "UI", study),
        element(SERIES, "UI", series),
    ]
