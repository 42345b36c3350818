"""What an upper layer serves: the interface between the association and the door that answers.

The acceptor (`acceptor`) reads PDUs and calls these; the proxy implements them. Nothing here knows
the states of PS3.8 or what a service does with a message.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from dimse_ingestion.dicom.status import Status


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
    """An A-ASSOCIATE-RQ as a service decides on it; titles without outer blanks."""

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


@dataclass(frozen=True, slots=True)
class Rejection:
    """An association refused. `explanation` is for the log, not for the wire."""

    result: RejectResult
    reason: RejectReason
    explanation: str


@dataclass(frozen=True, slots=True)
class Acceptance:
    """An association accepted.

    `choose` gives, for an abstract syntax and its proposed transfer syntaxes, the one accepted:
    None refuses the abstract syntax (result 3), an empty string all its transfer syntaxes
    (result 4). `extended` are the answers to extended negotiation, by SOP class UID.
    """

    choose: Callable[[str, tuple[str, ...]], str | None]
    extended: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PresentationContext:
    """One accepted context."""

    context_id: int
    abstract_syntax: str
    transfer_syntax_uid: str


@dataclass(frozen=True, slots=True)
class Command:
    """A command set's elements that a service looks at (PS3.7 annex E); empty when absent."""

    command_field: int
    message_id: int
    affected_sop_class_uid: str = ""
    affected_sop_instance_uid: str = ""
    priority: int = 0
    has_data_set: bool = False
    move_originator_ae_title: str = ""
    move_originator_message_id: int = 0
    move_destination: str = ""


class DataSetSink(Protocol):
    """Where the fragments of one data set go, in order."""

    def write(self, fragment: bytes | memoryview) -> Awaitable[None] | None:
        """Take one fragment, copying what it keeps: the buffer is used again afterwards.

        An awaitable asks the upper layer to read no more from this peer until it is done. Raises
        nothing: a sink that can't take more remembers that and says so in `perform`.
        """

    def abandon(self) -> None:
        """The rest won't come (abort, lost connection, time-out): let go of what was taken."""


class AssociationHandle(Protocol):
    """What a service may know and ask of the association a message came on."""

    @property
    def request(self) -> AssociationRequest:
        """What was asked at its start."""

    def abort(self, explanation: str) -> None:
        """Send A-ABORT as service user and close; `explanation` goes to the log."""


class Message(Protocol):
    """One DIMSE request, complete, and the way back."""

    association: AssociationHandle
    context: PresentationContext
    command: Command
    data_set: DataSetSink | None
    cancelled: asyncio.Event
    """Set by a C-CANCEL-RQ for this message, and when the association ends."""

    async def respond(
        self,
        status: Status,
        *,
        comment: str = "",
        identifier: bytes | None = None,
    ) -> None:
        """Send one response; `identifier` is a data set in the context's transfer syntax.

        Waits while the peer reads too slowly. A response on an association that has ended is
        dropped without an error: the peer will ask again.
        """


class Services(Protocol):
    """A door's side of the upper layer; one for all associations."""

    async def associate(self, request: AssociationRequest) -> Acceptance | Rejection:
        """Decide on an association. Quick: the requestor's ARTIM timer runs."""

    def open_data_set(
        self, association: AssociationHandle, context: PresentationContext, command: Command
    ) -> DataSetSink:
        """A sink for the data set that follows this command; called before its first fragment."""

    async def perform(self, message: Message) -> None:
        """Answer one request. Messages of one association are performed one after another.

        An exception is logged by the upper layer and answered with 0110.
        """

    def association_ended(self, association: AssociationHandle, outcome: str) -> None:
        """The association is over: `outcome` is released, aborted, or lost."""
