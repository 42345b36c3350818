"""The demo's queries: one C-FIND at each level, and names in other scripts by wildcard."""

from dataclasses import dataclass

from pydicom import Dataset


@dataclass(frozen=True)
class Query:
    """One C-FIND; `columns` are the keywords shown, `description` says it in words."""

    description: str
    identifier: Dataset
    columns: tuple[str, ...]
    patient_root: bool = False


def query(
    level: str,
    description: str,
    keys: dict[str, str],
    columns: tuple[str, ...],
    *,
    patient_root: bool = False,
) -> Query:
    """Return a query with `columns` as return keys and `keys` as matching keys."""
    identifier = Dataset()
    identifier.SpecificCharacterSet = "ISO_IR 192"
    identifier.QueryRetrieveLevel = level
    for keyword in columns:
        setattr(identifier, keyword, None)
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    return Query(description, identifier, columns, patient_root)


def patients() -> Query:
    """Return the query of all patients."""
    columns = ("PatientName", "PatientID", "PatientSex", "NumberOfPatientRelatedStudies")
    return query("PATIENT", "all patients", {}, columns, patient_root=True)


def studies(name: str, description: str) -> Query:
    """Return the query of the studies of patients whose name matches."""
    columns = (
        "PatientName",
        "StudyDate",
        "ModalitiesInStudy",
        "NumberOfStudyRelatedSeries",
        "NumberOfStudyRelatedInstances",
        "StudyInstanceUID",
    )
    return query("STUDY", description, {"PatientName": name}, columns)


def series(study_instance_uid: str) -> Query:
    """Return the query of one study's series."""
    columns = ("Modality", "SeriesNumber", "SeriesDescription", "NumberOfSeriesRelatedInstances")
    keys = {"StudyInstanceUID": study_instance_uid}
    return query("SERIES", "the series of one study", keys, (*columns, "SeriesInstanceUID"))


def instances(study_instance_uid: str, series_instance_uid: str) -> Query:
    """Return the query of one series' instances."""
    keys = {"StudyInstanceUID": study_instance_uid, "SeriesInstanceUID": series_instance_uid}
    columns = ("InstanceNumber", "SOPInstanceUID", "SOPClassUID")
    return query("IMAGE", "the images of one series", keys, columns)
