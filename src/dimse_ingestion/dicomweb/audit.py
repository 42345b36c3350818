"""What DICOMweb reports to its audit trail: studies stored, sent and viewed, searches, refusals.

Handlers note in the request's `AuditNotes` what they do with whose data; the middleware reports it
when the response has ended. Without a trail there are no notes, and nothing is done. Requests of
one client for one study within a minute are one message, because a viewer sends hundreds.
"""

from collections.abc import AsyncGenerator, Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dimse_ingestion.audit.codes import Action, Code, EventId, EventType, Outcome
from dimse_ingestion.audit.messages import (
    Activity,
    Alert,
    AskedQuery,
    Participant,
    Patient,
    destination,
    source,
)
from dimse_ingestion.audit.study_of import StudyOf, first_values, study_of_elements
from dimse_ingestion.audit.trail import AuditTrail
from dimse_ingestion.dicom import uids
from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.observability.logging import logger

_LOG = logger(__name__)
_NOTES = "dimse_ingestion.audit"
_SOP_CLASS_UID = "00080016"
_WINDOW = 60.0  # seconds in which requests for one study are one message
_REFUSALS: Mapping[int, tuple[Code, str]] = {
    HTTPStatus.UNAUTHORIZED: (
        EventType.NODE_AUTHENTICATION,
        "A request was refused (401): it is not authenticated.",
    ),
    HTTPStatus.FORBIDDEN: (
        EventType.USE_OF_RESTRICTED_FUNCTION,
        "A request was refused (403): the user has no right to it.",
    ),
}


@dataclass(frozen=True, slots=True)
class _Handled:
    """One instance that a request has to do with."""

    study: StudyOf
    sop_class_uid: str
    outcome: Outcome = Outcome.SUCCESS
    action: Action = Action.READ


@dataclass(slots=True)
class AuditNotes:
    """What the handlers of one request note for the report."""

    user: str = ""
    """The authenticated user."""
    is_search: bool = False
    accessed: list[_Handled] = field(default_factory=list)
    sent: list[_Handled] = field(default_factory=list)
    stored: list[_Handled] = field(default_factory=list)


def is_audited(request: Request) -> bool:
    """Return whether a request is reported, so that its instances' elements are needed."""
    return _notes(request.scope) is not None


def note_user(scope: Scope, user: str) -> None:
    """Note the authenticated user of a request."""
    if (notes := _notes(scope)) is not None:
        notes.user = user


def note_search(request: Request) -> None:
    """Note that a request is a search."""
    if (notes := _notes(request.scope)) is not None:
        notes.is_search = True


def note_access(request: Request, instances: Iterable[Sequence[Element]]) -> None:
    """Note that a request reads something of instances, given by their elements."""
    if (notes := _notes(request.scope)) is not None:
        notes.accessed += filter(None, map(_handled, instances))


def note_stored(
    request: Request,
    study_instance_uid: str,
    patient: tuple[str, str],
    sop_class_uid: str,
    *,
    outcome: Outcome,
    is_new: bool,
) -> None:
    """Note an instance that a request has brought; `patient` is the ID and the name."""
    notes = _notes(request.scope)
    if notes is not None and uids.is_valid(study_instance_uid):
        study = StudyOf(study_instance_uid, Patient(*patient))
        action = Action.CREATE if is_new else Action.READ
        notes.stored.append(_Handled(study, sop_class_uid, outcome, action))


def noted_sending(
    request: Request, elements: Sequence[Element], chunks: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    """Return the chunks of a whole instance; whether all of them were sent will be noted."""
    notes = _notes(request.scope)
    return chunks if notes is None else _noted_sending(notes, elements, chunks)


async def _noted_sending(
    notes: AuditNotes, elements: Sequence[Element], chunks: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    outcome = Outcome.SERIOUS_FAILURE
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk
        outcome = Outcome.SUCCESS
    finally:
        if handled := _handled(elements, outcome):
            notes.sent.append(handled)


class AuditMiddleware:
    """Reports each request to `trail` when its response has ended; it changes no response.

    `is_trusted` says whether the client of a request is a proxy whose headers are trusted.
    """

    def __init__(
        self, app: ASGIApp, trail: AuditTrail, is_trusted: Callable[[Request], bool]
    ) -> None:
        self._app = app
        self._trail = trail
        self._is_trusted = is_trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        notes = AuditNotes()
        status, is_whole = 0, False

        async def send_observed(message: Message) -> None:
            nonlocal status, is_whole
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                is_whole = True

        try:
            await self._app({**scope, _NOTES: notes}, receive, send_observed)
        finally:
            self._report(Request(scope), notes, status, is_whole=is_whole)

    def _report(self, request: Request, notes: AuditNotes, status: int, *, is_whole: bool) -> None:
        try:
            client = self._client(request, notes.user)
            if refusal := _REFUSALS.get(status):
                self._report_refusal(request, client, *refusal)
            if notes.is_search:
                self._report_search(request, client, _outcome(status))
            self._report_instances(request, client, notes, status, is_whole=is_whole)
        except Exception:  # noqa: BLE001 - the response does not depend on the report
            _LOG.exception("Reporting to the audit trail failed because of an error here.")

    def _report_refusal(
        self, request: Request, client: Participant, kind: Code, description: str
    ) -> None:
        # the address alone tells repetitions apart, the path is what the client chose
        self._trail.record_alert(Alert(kind, client, description, request.url.path))

    def _report_search(self, request: Request, client: Participant, outcome: Outcome) -> None:
        query = bytes(request.scope.get("query_string", b""))
        self._trail.record_query(
            AskedQuery(request.url.path, query), _asking(client), self._trail.itself, outcome
        )

    def _report_instances(
        self,
        request: Request,
        client: Participant,
        notes: AuditNotes,
        status: int,
        *,
        is_whole: bool,
    ) -> None:
        itself, asking = self._trail.itself, _asking(client)
        transferred = EventId.INSTANCES_TRANSFERRED
        for each in notes.stored:
            self._add(transferred, (source(asking), destination(itself)), each)
        for each in notes.sent:
            self._add(transferred, (source(itself), destination(asking)), each)
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return  # nothing was read: the client has a valid copy, or an error
        for each in notes.accessed if is_whole and request.method != "HEAD" else ():
            self._add(EventId.INSTANCES_ACCESSED, (asking, itself), each)

    def _add(self, event: Code, participants: tuple[Participant, ...], handled: _Handled) -> None:
        is_done = handled.outcome is Outcome.SUCCESS
        activity = Activity(
            event=event,
            action=handled.action,
            outcome=handled.outcome,
            participants=participants,
            study_instance_uid=handled.study.study_instance_uid,
            patient=handled.study.patient,
            outcome_description="" if is_done else "Not completed",
        )
        scope: Hashable = None
        self._trail.record_instance(scope, activity, handled.sop_class_uid, _WINDOW)

    def _client(self, request: Request, user: str) -> Participant:
        address = self._address(request)
        return Participant(user_id=user or address or "unknown", address=address)

    def _address(self, request: Request) -> str:
        """Return the client's address: behind trusted proxies the last one that is none of them."""
        peer = request.client.host if request.client else ""
        if not self._is_trusted(request):
            return peer
        forwarded = Headers(scope=request.scope).get("x-forwarded-for", "")
        for each in reversed([part.strip() for part in forwarded.split(",")]):
            if not _is_address(each):
                break
            peer = each
            if not self._is_trusted(Request({**request.scope, "client": (each, 0)})):
                break
        return peer


def _notes(scope: Scope) -> AuditNotes | None:
    notes = scope.get(_NOTES)
    return notes if isinstance(notes, AuditNotes) else None


def _handled(elements: Sequence[Element], outcome: Outcome = Outcome.SUCCESS) -> _Handled | None:
    study = study_of_elements(elements)
    if study is None:
        return None
    (sop_class_uid,) = first_values(elements, _SOP_CLASS_UID)
    return _Handled(study, uids.strip_padding(sop_class_uid), outcome)


def _asking(client: Participant) -> Participant:
    return Participant(user_id=client.user_id, address=client.address, is_requestor=True)


def _outcome(status: int) -> Outcome:
    if HTTPStatus.OK <= status < HTTPStatus.BAD_REQUEST:
        return Outcome.SUCCESS
    is_transient = status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
    return Outcome.MINOR_FAILURE if is_transient else Outcome.SERIOUS_FAILURE


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
