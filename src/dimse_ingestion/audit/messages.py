"""The audit messages that services send, as PS3.15 A.5.3 has them: a table each, a function each.

They are data without an encoding (see `xml`). What the tables leave open is in the conformance
statement.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from dimse_ingestion.audit.codes import (
    Action,
    Code,
    EventId,
    EventType,
    IdType,
    ObjectRole,
    ObjectType,
    Outcome,
    Role,
)

LONGEST_QUERY = 16 * 1024
"""Bytes of a query that a message holds: in base64 it fits the 32768 octets that every repository
takes (PS3.15 A.6)."""


@dataclass(frozen=True, slots=True)
class Participant:
    """A process or person that took part; `address` is an IP address or a host name.

    `ae_titles` are those under which it took part.
    """

    user_id: str
    address: str = ""
    ae_titles: tuple[str, ...] = ()
    user_name: str = ""
    is_requestor: bool = False
    roles: tuple[Code, ...] = ()


@dataclass(frozen=True, slots=True)
class ParticipantObject:
    """An object of the event; `details` are named values of any bytes.

    It has a `query` or else a `name`. `sop_classes` counts instances by SOP Class UID.
    """

    id: str
    id_type: Code
    type: ObjectType
    role: ObjectRole
    name: str = ""
    query: bytes | None = None
    details: tuple[tuple[str, bytes], ...] = ()
    sop_classes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditMessage:
    """One audit message, without its source, which is the same for all of a service."""

    event: Code
    action: Action
    time: datetime
    """When it happened, with a time zone."""
    outcome: Outcome
    participants: Sequence[Participant]
    types: tuple[Code, ...] = ()
    outcome_description: str = ""
    objects: Sequence[ParticipantObject] = ()


@dataclass(frozen=True, slots=True)
class Patient:
    """The patient of a message about studies, each text empty where unknown."""

    id: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Activity:
    """What was done with instances of one study: transferred between two, or accessed by one.

    `participants` have their roles. Instances for which all this is the same are one message.
    """

    event: Code
    action: Action
    outcome: Outcome
    participants: tuple[Participant, ...]
    study_instance_uid: str
    patient: Patient
    outcome_description: str = ""


def application_activity(process: Participant, time: datetime, *, starts: bool) -> AuditMessage:
    """Return that an application starts or stops (A.5.3.1)."""
    return AuditMessage(
        event=EventId.APPLICATION_ACTIVITY,
        types=(EventType.APPLICATION_START if starts else EventType.APPLICATION_STOP,),
        action=Action.EXECUTE,
        time=time,
        outcome=Outcome.SUCCESS,
        participants=[process],
    )


def instances(activity: Activity, time: datetime, sop_classes: Mapping[str, int]) -> AuditMessage:
    """Return that instances of a study were transferred or accessed (A.5.3.6 and A.5.3.7)."""
    return AuditMessage(
        event=activity.event,
        action=activity.action,
        time=time,
        outcome=activity.outcome,
        outcome_description=activity.outcome_description,
        participants=activity.participants,
        objects=[
            ParticipantObject(
                id=activity.study_instance_uid,
                id_type=IdType.STUDY_INSTANCE_UID,
                type=ObjectType.SYSTEM,
                role=ObjectRole.REPORT,
                name=activity.study_instance_uid,
                sop_classes=sop_classes,
            ),
            ParticipantObject(
                id=activity.patient.id,
                id_type=IdType.PATIENT_NUMBER,
                type=ObjectType.PERSON,
                role=ObjectRole.PATIENT,
                name=activity.patient.name,
            ),
        ],
    )


@dataclass(frozen=True, slots=True)
class AskedQuery:
    """A query: what was queried, and the query in the format of its protocol.

    `id` is the SOP Class UID of a C-FIND, whose data set has `transfer_syntax_uid`, else a URI.
    """

    id: str
    content: bytes
    transfer_syntax_uid: str = ""


def query(
    asked: AskedQuery, participants: Iterable[Participant], time: datetime, outcome: Outcome
) -> AuditMessage:
    """Return that a query was received (A.5.3.10); a very long one is cut and marked so."""
    details: list[tuple[str, bytes]] = []
    if asked.transfer_syntax_uid:
        details.append(("TransferSyntax", asked.transfer_syntax_uid.encode(errors="replace")))
    if len(asked.content) > LONGEST_QUERY:
        details.append(("QueryLength", str(len(asked.content)).encode()))
    return AuditMessage(
        event=EventId.QUERY,
        action=Action.EXECUTE,
        time=time,
        outcome=outcome,
        participants=tuple(participants),
        objects=[
            ParticipantObject(
                id=asked.id,
                id_type=IdType.SOP_CLASS_UID if asked.transfer_syntax_uid else IdType.URI,
                type=ObjectType.SYSTEM,
                role=ObjectRole.REPORT,
                query=asked.content[:LONGEST_QUERY],
                details=tuple(details),
            )
        ],
    )


@dataclass(frozen=True, slots=True)
class Alert:
    """An attempt that was prevented, by `culprit`; `resource` is the URI that it was about, if any.

    `description` is for a security officer, and repeats nothing that the culprit sent.
    """

    type: Code
    culprit: Participant
    description: str
    resource: str = ""


def security_alert(
    alert: Alert, reporter: Participant, time: datetime, repetitions: int = 0
) -> AuditMessage:
    """Return that an attempt was prevented (A.5.3.11), and how often again since the last alert."""
    details = [("Alert Description", alert.description.encode(errors="replace"))]
    if repetitions:
        details.append(("Repetitions", str(repetitions).encode()))
    subjects = {IdType.NODE_ID: alert.culprit.address, IdType.URI: alert.resource}
    return AuditMessage(
        event=EventId.SECURITY_ALERT,
        types=(alert.type,),
        action=Action.EXECUTE,
        time=time,
        outcome=Outcome.MINOR_FAILURE,
        participants=[reporter, alert.culprit],
        objects=[
            ParticipantObject(
                id=subject,
                id_type=id_type,
                type=ObjectType.SYSTEM,
                role=ObjectRole.SECURITY_RESOURCE,
                name=subject,
                details=tuple(details),
            )
            for id_type, subject in subjects.items()
            if subject
        ],
    )


def source(participant: Participant) -> Participant:
    """Return a participant as the one that sends data or a query."""
    return replace(participant, roles=(Role.SOURCE,))


def destination(participant: Participant) -> Participant:
    """Return a participant as the one that receives data or answers a query."""
    return replace(participant, roles=(Role.DESTINATION,))
