"""Requests of DIMSE as requests of the transport: what a C-STORE and a C-FIND must have, and opens.

Nothing is sent or answered here (see `bridge`). A request that is invalid is refused with its
status (PS3.7 annex C; PS3.4 annexes B and C).
"""

from datetime import UTC, datetime

from msgspec.structs import replace

from dimse_ingestion.dicom.contexts import is_storage
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.dicom.uids import FIND_CLASSES, is_valid
from dimse_ingestion.proxy.acceptance import is_date_time_combined, is_relational
from dimse_ingestion.proxy.identifier import IdentifierBuffer
from dimse_ingestion.spooling.spooled import Sealed, SpooledDataSet
from dimse_ingestion.transport.protocol.messages import FindOpen, Origin, StoreOpen
from dimse_ingestion.upper_layer.services import Command, Message


def storable(message: Message) -> SpooledDataSet:
    """Return the data set of a valid C-STORE. Raises DimseFailure for an invalid one."""
    command, context = message.command, message.context
    if not (
        is_storage(context.abstract_syntax)
        and context.requestor_is_scu
        and _matches_context_class(message)
    ):
        raise DimseFailure(
            Status.SOP_CLASS_NOT_SUPPORTED, "The SOP class is not the presentation context's"
        )
    if not is_valid(command.affected_sop_instance_uid):
        raise DimseFailure(
            Status.INVALID_SOP_INSTANCE, "The Affected SOP Instance UID is not a UID"
        )
    if not isinstance(message.data_set, SpooledDataSet) or not message.data_set.size:
        raise DimseFailure(Status.CANNOT_UNDERSTAND, "The C-STORE has no data set")
    return message.data_set


def _matches_context_class(message: Message) -> bool:
    identifiers = message.command.affected_sop_class_uid
    return identifiers == message.context.abstract_syntax and is_valid(identifiers)


def query_identifier(message: Message) -> bytes:
    """Return the identifier of a valid C-FIND. Raises DimseFailure for an invalid one."""
    if message.context.abstract_syntax not in FIND_CLASSES or not _matches_context_class(message):
        raise DimseFailure(
            Status.SOP_CLASS_NOT_SUPPORTED, "C-FIND is served for Patient and Study Root"
        )
    content = message.data_set.content() if isinstance(message.data_set, IdentifierBuffer) else b""
    if not content:
        raise DimseFailure(Status.DOES_NOT_MATCH_SOP_CLASS, "The C-FIND has no identifier")
    return content


def store_open(message: Message, operation_id: str, sealed: Sealed, proxy_id: str) -> StoreOpen:
    """Return the open of a C-STORE whose data set has arrived."""
    command = message.command
    received_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    return StoreOpen(
        operation_id=operation_id,
        sop_class_uid=command.affected_sop_class_uid,
        sop_instance_uid=command.affected_sop_instance_uid,
        transfer_syntax_uid=message.context.transfer_syntax_uid,
        size=sealed.size,
        sha256=sealed.sha256,
        origin=replace(origin_of(message), proxy_id=proxy_id, received_at=received_at),
        move_originator_ae_title=command.move_originator_ae_title,
        move_originator_message_id=command.move_originator_message_id,
    )


def find_open(
    message: Message, operation_id: str, identifier: bytes, *, retrievable: bool
) -> FindOpen:
    """Return the open of a C-FIND."""
    sop_class_uid = message.context.abstract_syntax
    information = message.association.request.extended.get(sop_class_uid, b"")
    return FindOpen(
        operation_id=operation_id,
        sop_class_uid=sop_class_uid,
        transfer_syntax_uid=message.context.transfer_syntax_uid,
        identifier=identifier,
        origin=origin_of(message),
        relational=is_relational(information),
        combined_date_time=is_date_time_combined(information),
        retrievable=retrievable,
    )


def origin_of(message: Message) -> Origin:
    """Return who sent a request, and on which association."""
    request = message.association.request
    return Origin(
        calling_ae_title=request.calling_ae_title,
        called_ae_title=request.called_ae_title,
        peer_address=request.peer_address,
        implementation_class_uid=request.implementation_class_uid,
        implementation_version_name=request.implementation_version_name,
        association_id=request.association_id,
        message_id=message.command.message_id,
    )


def instance_uids(command: Command) -> dict[str, str]:
    """Return the UIDs for a log line, without invalid ones: they are text from the network."""
    identifiers = {
        "sop_class_uid": command.affected_sop_class_uid,
        "sop_instance_uid": command.affected_sop_instance_uid,
    }
    return {name: uid if is_valid(uid) else "" for name, uid in identifiers.items()}
