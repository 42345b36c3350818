"""The coded values of audit messages (PS3.15 A.5.1.2 and A.5.3, PS3.16 CID 400 to 403)."""

from enum import StrEnum
from typing import NamedTuple

from dimse_ingestion.failures import Failure


class Code(NamedTuple):
    """A coded value: its code, the coding scheme, and its meaning."""

    code: str
    scheme: str
    meaning: str


def _dcm(code: str, meaning: str) -> Code:
    return Code(code, "DCM", meaning)


class EventId:
    """The events that are reported (CID 400)."""

    APPLICATION_ACTIVITY = _dcm("110100", "Application Activity")
    INSTANCES_ACCESSED = _dcm("110103", "DICOM Instances Accessed")
    INSTANCES_TRANSFERRED = _dcm("110104", "DICOM Instances Transferred")
    QUERY = _dcm("110112", "Query")
    SECURITY_ALERT = _dcm("110113", "Security Alert")


class EventType:
    """The types of those events that have some (CID 401 and 403)."""

    APPLICATION_START = _dcm("110120", "Application Start")
    APPLICATION_STOP = _dcm("110121", "Application Stop")
    NODE_AUTHENTICATION = _dcm("110126", "Node Authentication")
    USE_OF_RESTRICTED_FUNCTION = _dcm("110132", "Use of Restricted Function")


class Role:
    """The roles of active participants (CID 402)."""

    APPLICATION = _dcm("110150", "Application")
    DESTINATION = _dcm("110152", "Destination Role ID")
    SOURCE = _dcm("110153", "Source Role ID")


class IdType:
    """What the identifier of a participant object is."""

    PATIENT_NUMBER = Code("2", "RFC-3881", "Patient Number")
    URI = Code("12", "RFC-3881", "URI")
    STUDY_INSTANCE_UID = _dcm("110180", "Study Instance UID")
    SOP_CLASS_UID = _dcm("110181", "SOP Class UID")
    NODE_ID = _dcm("110182", "Node ID")


class Action(StrEnum):
    """Event Action Code."""

    CREATE = "C"
    READ = "R"
    EXECUTE = "E"


class Outcome(StrEnum):
    """Event Outcome Indicator."""

    SUCCESS = "0"
    MINOR_FAILURE = "4"
    """The action is expected to be repeated; of a security alert: what was tried was prevented."""
    SERIOUS_FAILURE = "8"
    """The action has ended without success."""


def outcome_of_failure(failure: Failure | None) -> Outcome:
    """Return the outcome of what ended with a failure, or with None by success."""
    if failure is None:
        return Outcome.SUCCESS
    return Outcome.MINOR_FAILURE if failure.transient else Outcome.SERIOUS_FAILURE


class ObjectType(StrEnum):
    """Participant Object Type Code."""

    PERSON = "1"
    SYSTEM = "2"


class ObjectRole(StrEnum):
    """Participant Object Type Code Role."""

    PATIENT = "1"
    REPORT = "3"
    """A study or a query."""
    SECURITY_RESOURCE = "13"


APPLICATION_SERVER = "4"
"""Audit Source Type Code: application server process."""
