"""What the demo asks: one C-FIND at each level, and names in other scripts by wildcard."""

from dataclasses import dataclass

from pydicom import Dataset


@dataclass(frozen=True)
class Question:
    """One C-FIND; `columns` are the keywords shown, `told` says it in words."""

    told: str
    identifier: Dataset
    columns: tuple[str, ...]
    patient_root: bool = False


def question(
    level: str,
    told: str,
    keys: dict[str, str],
    columns: tuple[str, ...],
    *,
    patient_root: bool = False,
) -> Question:
    """A question whose identifier asks for `columns` and matches `keys`."""
    identifier = Dataset()
    identifier.SpecificCharacterSet = "ISO_IR 192"
    identifier.QueryRetrieveLevel = level
    for keyword in columns:
        setattr(identifier, keyword, None)
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    return Question(told, identifier, columns, patient_root)


def patients() -> Question:
    """Every patient."""
    columns = ("PatientName", "PatientID", "PatientSex", "NumberOfPatientRelatedStudies")
    return question("PATIENT", "all patients", {}, columns, patient_root=True)


def studies(name: str, told: str) -> Question:
    """The studies of the patients whose name matches."""
    columns = (
        "PatientName",
        "StudyDate",
        "ModalitiesInStudy",
        "NumberOfStudyRelatedSeries",
        "NumberOfStudyRelatedInstances",
        "StudyInstanceUID",
    )
    return question("STUDY", told, {"PatientName": name}, columns)


def series(study_instance_uid: str) -> Question:
    """The series of one study."""
    columns = ("Modality", "SeriesNumber", "SeriesDescription", "NumberOfSeriesRelatedInstances")
    keys = {"StudyInstanceUID": study_instance_uid}
    return question("SERIES", "the series of one study", keys, (*columns, "SeriesInstanceUID"))


def instances(study_instance_uid: str, series_instance_uid: str) -> Question:
    """The instances of one series."""
    keys = {"StudyInstanceUID": study_instance_uid, "SeriesInstanceUID": series_instance_uid}
    columns = ("InstanceNumber", "SOPInstanceUID", "SOPClassUID")
    return question("IMAGE", "the images of one series", keys, columns)
