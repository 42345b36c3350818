"""The interface between the upper layer and the service that answers its requests.

The acceptor (`acceptor`) reads PDUs and calls these methods; the proxy implements them. The states
of PS3.8 and the meaning of messages are not part of it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from dimse_ingestion.dicom.status import Status


class CommandField(IntEnum):
    """Command Field (0000,0100) of the requests that are served or sent (PS3.7 E.1).

    The upper layer handles C-CANCEL-RQ itself; N-EVENT-REPORT-RQ is only sent.
    """

    C_STORE_RQ = 0x0001
    C_GET_RQ = 0x0010
    C_FIND_RQ = 0x0020
    C_MOVE_RQ = 0x0021
    C_ECHO_RQ = 0x0030
    N_EVENT_REPORT_RQ = 0x0100
    N_ACTION_RQ = 0x0130
    C_CANCEL_RQ = 0x0FFF


class RejectResult(IntEnum):
    """Result of an A-ASSOCIATE-RJ (PS3.8 table 9-21)."""

    PERMANENT = 1
    TRANSIENT = 2


class RejectReason(IntEnum):
    """Source and reason of an A-ASSOCIATE-RJ (PS3.8 table 9-21), as source * 16 + reason."""

    NO_REASON_GIVEN = 0x11
    APPLICATION_CONTEXT_NOT_SUPPORTED = 0x12
    CALLING_AE_TITLE_NOT_RECOGNIZED = 0x13
    CALLED_AE_TITLE_NOT_RECOGNIZED = 0x17
    PROTOCOL_VERSION_NOT_SUPPORTED = 0x22
    TEMPORARY_CONGESTION = 0x31
    LOCAL_LIMIT_EXCEEDED = 0x32


@dataclass(frozen=True, slots=True)
class AssociationRequest:
    """An A-ASSOCIATE-RQ as a service sees it; AE titles without outer blanks."""

    association_id: str
    called_ae_title: str
    calling_ae_title: str
    peer_address: str
    peer_port: int
    implementation_class_uid: str
    implementation_version_name: str
    proposed: Mapping[int, tuple[str, tuple[str, ...]]]
    """Context id → (abstract syntax, transfer syntaxes in the requestor's order)."""
    extended: Mapping[str, bytes] = field(default_factory=dict)
    """SOP class UID → application information of its extended negotiation (PS3.7 D.3.3.5)."""
    proposed_scp: Mapping[str, bool] = field(default_factory=dict)
    """SOP class UID of each role selection → whether the requestor proposes to be its SCP."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A rejection of an association. `explanation` is logged and not sent."""

    result: RejectResult
    reason: RejectReason
    explanation: str


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The acceptance of an association.

    `choose` returns the accepted one of an abstract syntax's proposed transfer syntaxes, None to
    refuse the abstract syntax (result 3), or an empty string to refuse all its transfer syntaxes
    (result 4). `extended` are the answers to extended negotiation, by SOP class UID. `may_be_scp`
    returns whether the requestor is granted the SCP role of a class (PS3.7 D.3.3.4);
    `assumes_scp` says that it has the role also for classes without a role selection.
    """

    choose: Callable[[str, tuple[str, ...]], str | None]
    extended: Mapping[str, bytes] = field(default_factory=dict)
    may_be_scp: Callable[[str], bool] = lambda _: False
    assumes_scp: bool = False


@dataclass(frozen=True, slots=True)
class PresentationContext:
    """An accepted presentation context."""

    context_id: int
    abstract_syntax: str
    transfer_syntax_uid: str
    requestor_is_scu: bool = True
    requestor_is_scp: bool = False


@dataclass(frozen=True, slots=True)
class SubOperationCounts:
    """Numbers of sub-operations in a C-MOVE or C-GET response (PS3.7 9.1.3 and 9.1.4)."""

    completed: int
    failed: int
    warning: int
    remaining: int | None = None
    """None in a final response."""


@dataclass(slots=True)
class Command:
    """The elements of a command set that services use (PS3.7 annex E); empty if absent."""

    command_field: int
    message_id: int
    affected_sop_class_uid: str = ""
    affected_sop_instance_uid: str = ""
    priority: int = 0
    has_data_set: bool = False
    move_originator_ae_title: str = ""
    move_originator_message_id: int = 0
    move_destination: str = ""
    event_type_id: int = 0
    action_type_id: int = 0


@dataclass(frozen=True, slots=True)
class Response:
    """The elements of a response's command set that are used (PS3.7 annex E); empty if absent."""

    command_field: int
    message_id: int
    """Of the request: Message ID Being Responded To (0000,0120)."""
    status: int
    """Status (0000,0900): a peer may send one that `dicom.status` does not list."""
    error_comment: str = ""
    affected_sop_class_uid: str = ""
    affected_sop_instance_uid: str = ""
    has_data_set: bool = False


DataSetSource = bytes | AsyncIterator[bytes]
"""A data set in its context's transfer syntax, whole or in chunks.

Its last P-DATA is sent after the iterator has ended. An iterator that raises, because a digest is
wrong, aborts the association, so the peer never has the whole data set.
"""


class DataSetSink(Protocol):
    """The receiver of one data set's fragments, in order."""

    def write(self, fragment: bytes | memoryview) -> Awaitable[None] | None:
        """Take one fragment and copy what is needed later: the buffer is reused afterwards.

        Returning an awaitable pauses reading from this peer until it is done. Must not raise: a
        sink that can't take more remembers that, and the request fails in `perform`.
        """

    def abandon(self) -> None:
        """Release the data: the association ended early, or the request is done."""


class AssociationHandle(Protocol):
    """The association of a message, as far as services may use it."""

    @property
    def request(self) -> AssociationRequest:
        """The A-ASSOCIATE-RQ that opened the association."""

    @property
    def contexts(self) -> Mapping[int, PresentationContext]:
        """The accepted presentation contexts."""

    @property
    def aborted(self) -> str:
        """Why this side has aborted the association; empty if it has not."""

    async def invoke(
        self, context: PresentationContext, command: Command, data_set: DataSetSource | None = None
    ) -> Response:
        """Send a request to the peer, with a message id of its own, and return its response.

        Raises AssociationLost when the association ends before the response.
        """

    def abort(self, explanation: str) -> None:
        """Send A-ABORT as service user and close; `explanation` is for the log."""


class Message(Protocol):
    """A complete DIMSE request, and the method to respond to it."""

    association: AssociationHandle
    context: PresentationContext
    command: Command
    data_set: DataSetSink | None

    @property
    def cancelled(self) -> asyncio.Event:
        """Set by a C-CANCEL-RQ for this message, and when the association ends."""

    async def respond(
        self,
        status: Status,
        *,
        comment: str = "",
        identifier: bytes | None = None,
        sub_operations: SubOperationCounts | None = None,
    ) -> None:
        """Send one response; `identifier` is a data set in the context's transfer syntax.

        Waits while the peer reads too slowly. A response on an association that has ended is
        dropped without an error: the peer will repeat its request.
        """


class Services(Protocol):
    """The service's side of the upper layer; one instance serves all associations."""

    async def associate(self, request: AssociationRequest) -> Acceptance | Rejection:
        """Decide on an association, quickly: the requestor's ARTIM timer is running."""

    def open_data_set(
        self, association: AssociationHandle, context: PresentationContext, command: Command
    ) -> DataSetSink:
        """Return the sink for the data set of this command, before its first fragment."""

    async def perform(self, message: Message) -> None:
        """Perform and answer one request; requests of one association are performed in sequence.

        The upper layer logs an exception and answers 0110.
        """

    def association_ended(self, association: AssociationHandle, outcome: str) -> None:
        """Handle the end of an association; `outcome` is released, aborted, or lost."""
