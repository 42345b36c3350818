"""Events for the catalogue, built from the elements of a stored instance.

Checks that the elements are those of the announced instance (PS3.4 B.2.3) and builds the event. It
writes and sends nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import NAMESPACE_URL, UUID, uuid5

from dimse_ingestion.dicom import uids
from dimse_ingestion.dicom.contexts import NON_PATIENT
from dimse_ingestion.dicom.elements import SOP_CLASS_UID, SOP_INSTANCE_UID, Element, by_tag
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.events.contract import (
    Image,
    ImageStored,
    ImageStoredEvent,
    InstanceOrigin,
    Store,
)
from dimse_ingestion.observability import tracing

_REQUIRED = {0x0020000D: "Study Instance UID", 0x0020000E: "Series Instance UID"}

_GROUPS_OF_UIDS = ("0008", "0020")


@dataclass(frozen=True, slots=True)
class StorageSpace:
    """The attributes that every event of one storage space has."""

    provider: str
    event_source: str
    wado_internal_endpoint: str = ""
    wado_external_endpoint: str = ""


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance to store, as announced; `size` in bytes, `sha256` in hexadecimal.

    `origin` is the AE that sent it, None if none did.
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    size: int
    sha256: str
    origin: InstanceOrigin | None = None


@dataclass(frozen=True, slots=True)
class Location:
    """The location of an instance's object; `header_size` is the data set's offset in bytes."""

    bucket_name: str
    key: str
    header_size: int


def check_uids(instance: Instance) -> None:
    """Raise DimseFailure when the instance cannot be stored because of its announced UIDs.

    A900 for an invalid UID, because it would become part of a key; 0122 for a SOP class whose
    objects belong to no study.
    """
    if instance.sop_class_uid in NON_PATIENT:
        raise DimseFailure(
            Status.SOP_CLASS_NOT_SUPPORTED,
            "Non-patient objects (PS3.4 GG) are not stored: they have no study.",
        )
    for uid in (instance.sop_class_uid, instance.sop_instance_uid, instance.transfer_syntax_uid):
        if not uids.is_valid(uid):
            raise _mismatch("The command has an invalid UID.")


def check_elements(instance: Instance, elements: Iterable[Element]) -> None:
    """Raise DimseFailure A900 unless the data set is the announced instance, in a study and series.

    PS3.4 B.2.3: A900 where the data set does not match the SOP class.
    """
    elements_by_tag = by_tag(each for each in elements if each.group in _GROUPS_OF_UIDS)
    if _uid(elements_by_tag, SOP_CLASS_UID) != instance.sop_class_uid:
        raise _mismatch("SOP Class UID (0008,0016) is not the command's.")
    if _uid(elements_by_tag, SOP_INSTANCE_UID) != instance.sop_instance_uid:
        raise _mismatch("SOP Instance UID (0008,0018) is not the command's.")
    for tag, name in _REQUIRED.items():
        if not uids.is_valid(_uid(elements_by_tag, tag)):
            raise _mismatch(f"{name} ({tag >> 16:04X},{tag & 0xFFFF:04X}) is missing or invalid.")


def _uid(elements: dict[int, Element], tag: int) -> str:
    elements_by_tag = elements.get(tag)
    return uids.strip_padding(elements_by_tag.value) if elements_by_tag else ""


def _mismatch(sentence: str) -> DimseFailure:
    return DimseFailure(Status.DOES_NOT_MATCH_SOP_CLASS, sentence)


def event_id(operation_id: str, key: str) -> str:
    """Return the id that every retry's event has: UUIDv5 of the operation's id and the key."""
    try:
        namespace = UUID(operation_id)
    except ValueError:
        namespace = uuid5(NAMESPACE_URL, operation_id)
    return str(uuid5(namespace, key))


def stored_event(
    operation_id: str,
    space: StorageSpace,
    instance: Instance,
    location: Location,
    elements: list[Element],
    stored_at: datetime | None = None,
) -> ImageStoredEvent:
    """Return the event for a stored instance; `stored_at` is now if not given."""
    store = Store(
        provider=space.provider,
        bucket_name=location.bucket_name,
        object_name=location.key,
        wado_internal_endpoint=space.wado_internal_endpoint,
        wado_external_endpoint=space.wado_external_endpoint,
        size=instance.size,
        sha256=instance.sha256,
        header_size=location.header_size,
    )
    return ImageStoredEvent(
        id=event_id(operation_id, location.key),
        source=space.event_source,
        subject=instance.sop_instance_uid,
        time=(stored_at or datetime.now(UTC)).astimezone(UTC).isoformat(),
        traceparent=tracing.traceparent(),
        data=ImageStored(
            image=Image(instance.transfer_syntax_uid, elements),
            store=store,
            origin=instance.origin,
        ),
    )
