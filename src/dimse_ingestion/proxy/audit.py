"""What the proxy reports to its audit trail: associations, C-STORE, C-FIND, and denied requests.

Retrieves are in `retrieve.audit`. Each storage space has one, with its AE title; all of a proxy use
one trail. Nothing here waits, raises, or changes an answer.
"""

from dataclasses import replace

from dimse_ingestion.audit.codes import Action, EventId, EventType, Outcome
from dimse_ingestion.audit.messages import (
    Activity,
    Alert,
    AskedQuery,
    Participant,
    destination,
    source,
)
from dimse_ingestion.audit.study_of import study_of_data_set
from dimse_ingestion.audit.trail import AuditTrail
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import Failure
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.proxy.identifier import IdentifierBuffer
from dimse_ingestion.proxy.request_log import RequestRecord
from dimse_ingestion.spooling.spooled import SpooledDataSet
from dimse_ingestion.upper_layer.services import (
    AssociationRequest,
    Message,
    Rejection,
    RejectReason,
    RejectResult,
)

_LOG = logger(__name__)
_LONGEST = 900.0
"""Seconds after which instances of an association that goes on are reported."""
_DENIABLE = ("get", "move", "commit")
_TO_BE_REPEATED = (Status.OUT_OF_RESOURCES, Status.RESOURCE_LIMITATION)
_REJECTIONS = {
    RejectReason.CALLING_AE_TITLE_NOT_RECOGNIZED: (
        "An association was rejected: the calling AE title or its address is not allowed."
    ),
    RejectReason.CALLED_AE_TITLE_NOT_RECOGNIZED: (
        "An association was rejected: the called AE title is not one of this system."
    ),
}
_HANDSHAKE_FAILED = "A TLS connection was refused: no valid certificate, or no TLS."
_DENIED = "A request was refused: the AE has no right to it."


class AssociationAudit:
    """Reports on the associations of a proxy."""

    def __init__(self, trail: AuditTrail) -> None:
        self._trail = trail

    def rejected(self, request: AssociationRequest, rejection: Rejection) -> None:
        """Report an association that was rejected for who asked or what was called."""
        description = _REJECTIONS.get(rejection.reason)
        if rejection.result is RejectResult.PERMANENT and description:
            alert = Alert(EventType.NODE_AUTHENTICATION, peer(request), description)
            self._trail.record_alert(alert)

    def handshake_failed(self, address: str) -> None:
        """Report a TLS handshake at the DIMSE port that failed."""
        culprit = Participant(user_id=address or "unknown", address=address)
        alert = Alert(EventType.NODE_AUTHENTICATION, culprit, _HANDSHAKE_FAILED)
        self._trail.record_alert(alert)

    def ended(self, association_id: str) -> None:
        """Report what an association that has ended has stored."""
        self._trail.end_scope(association_id)


class RequestAudit:
    """Reports on the requests of one storage space, whose AE title is `ae_title`.

    `knows_duplicates` says that a C-STORE's result tells whether the instance was held before.
    """

    def __init__(self, trail: AuditTrail, ae_title: str, *, knows_duplicates: bool) -> None:
        self.trail = trail
        self.itself = replace(trail.itself, ae_titles=(ae_title,))
        self._knows_duplicates = knows_duplicates

    def performed(self, service: str, message: Message, record: RequestRecord) -> None:
        """Report a request that was answered; called while its data set is still there."""
        try:
            if service == "store":
                self._stored(message, record)
            elif service == "find":
                self._queried(message, record)
            elif service in _DENIABLE and record.status is Status.NOT_AUTHORIZED:
                culprit = peer(message.association.request)
                alert = Alert(EventType.USE_OF_RESTRICTED_FUNCTION, culprit, _DENIED)
                self.trail.record_alert(alert)
        except Exception:  # noqa: BLE001 - the answer does not depend on the report
            _LOG.exception("Reporting to the audit trail failed because of an error here.")

    def _stored(self, message: Message, record: RequestRecord) -> None:
        data_set = message.data_set
        # readable only when sealed; what never came whole was not transferred
        if not isinstance(data_set, SpooledDataSet) or "sha256" not in record.facts:
            return
        found = study_of_data_set(data_set.read, message.context.transfer_syntax_uid)
        if found is None:
            return
        request = message.association.request
        activity = Activity(
            event=EventId.INSTANCES_TRANSFERRED,
            action=self._action(record),
            outcome=outcome_of(record.status),
            participants=(
                source(replace(peer(request), is_requestor=True)),
                destination(self.itself),
            ),
            study_instance_uid=found.study_instance_uid,
            patient=found.patient,
            outcome_description=failure_description(record.status),
        )
        sop_class_uid = message.command.affected_sop_class_uid
        self.trail.record_instance(request.association_id, activity, sop_class_uid, _LONGEST)

    def _action(self, record: RequestRecord) -> Action:
        """Return that copies were created, or Read if they were held or that is not known."""
        is_known = self._knows_duplicates and record.status is Status.SUCCESS
        return Action.CREATE if is_known and not record.facts.get("duplicate") else Action.READ

    def _queried(self, message: Message, record: RequestRecord) -> None:
        content = b""
        if isinstance(message.data_set, IdentifierBuffer):
            try:
                content = message.data_set.content()
            except Failure:  # it was too long, and is not there
                content = b""
        asked = AskedQuery(
            message.command.affected_sop_class_uid, content, message.context.transfer_syntax_uid
        )
        caller = replace(peer(message.association.request), is_requestor=True)
        self.trail.record_query(asked, caller, self.itself, outcome_of(record.status))


def peer(request: AssociationRequest) -> Participant:
    """Return the AE that requested an association."""
    return Participant(
        user_id=request.calling_ae_title,
        address=request.peer_address,
        ae_titles=(request.calling_ae_title,),
    )


def outcome_of(status: Status) -> Outcome:
    """Return the outcome of a request by its final status; a C-CANCEL is none of a failure."""
    if status in (Status.SUCCESS, Status.CANCEL):
        return Outcome.SUCCESS
    return Outcome.MINOR_FAILURE if status in _TO_BE_REPEATED else Outcome.SERIOUS_FAILURE


def failure_description(status: Status) -> str:
    """Return the description of a failed request; empty for another."""
    is_failure = outcome_of(status) is not Outcome.SUCCESS
    return f"DIMSE status {status:04X}H" if is_failure else ""
