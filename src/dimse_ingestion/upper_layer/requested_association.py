"""One association that this side requested: its requests and their responses (PS3.8 9.2).

What both roles do is in `association_end`; `requestor` opens the connection.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from dimse_ingestion.dicom.uids import VERIFICATION
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.upper_layer import pdata, pdus, proposals
from dimse_ingestion.upper_layer.assembly import Assembly, CompleteMessage
from dimse_ingestion.upper_layer.associate_ac import AssociateAc, decode_accept
from dimse_ingestion.upper_layer.associate_items import Roles
from dimse_ingestion.upper_layer.association_end import COMMON_EFFECTS, AssociationEnd
from dimse_ingestion.upper_layer.association_errors import (
    AssociationRejected,
    PeerUnreachable,
)
from dimse_ingestion.upper_layer.limits import UpperLayerLimits
from dimse_ingestion.upper_layer.pdus import AbortReason, PduType, ProtocolError
from dimse_ingestion.upper_layer.requestor_negotiation import AS_SCU, Negotiated, conclude
from dimse_ingestion.upper_layer.services import (
    Command,
    CommandField,
    DataSetSink,
    DataSetSource,
    PresentationContext,
    Response,
)
from dimse_ingestion.upper_layer.states import Effect, Event, Role, State
from dimse_ingestion.upper_layer.transport_connection import Spawn, TransportConnection


class RequestedAssociation(AssociationEnd):
    """Run one association in the role of the requestor."""

    role = Role.REQUESTOR

    def __init__(
        self,
        proposal: proposals.Proposal,
        limits: UpperLayerLimits,
        connection: TransportConnection,
        spawn: Spawn,
        peer: tuple[str, int],
    ) -> None:
        log = logger(__name__).bind(
            association_id=secrets.token_hex(8),
            peer_address=peer[0],
            called_ae_title=proposal.called_ae_title,
        )
        super().__init__(limits, connection, spawn, log)
        self._proposal = proposal
        self._answer: AssociateAc | None = None
        self._negotiated = Negotiated()
        self._established = asyncio.get_running_loop().create_future()
        self._released = asyncio.Event()

    @property
    def peer_name(self) -> str:
        """The AE title that was called."""
        return self._proposal.called_ae_title

    # the negotiation

    @property
    def contexts(self) -> Mapping[int, PresentationContext]:
        """The accepted presentation contexts."""
        return self._negotiated.contexts

    @property
    def negotiated(self) -> Negotiated:
        """What was negotiated."""
        return self._negotiated

    @property
    def is_established(self) -> bool:
        """Return whether requests can be sent."""
        return self._machine.state is State.ESTABLISHED

    def context(
        self, abstract_syntax: str, transfer_syntax: str = ""
    ) -> PresentationContext | None:
        """Return an accepted context of this class, with this transfer syntax if one is given."""
        for each in self.contexts.values():
            if each.abstract_syntax == abstract_syntax and transfer_syntax in (
                "",
                each.transfer_syntax_uid,
            ):
                return each
        return None

    def roles(self, sop_class_uid: str) -> Roles:
        """Return the roles this side has for a SOP class."""
        return self._negotiated.roles.get(sop_class_uid, AS_SCU)

    async def wait_established(self) -> None:
        """Wait for the peer's answer. Raises AssociationRejected, PeerUnreachable."""
        await self._established

    # requests

    async def invoke(
        self, context: PresentationContext, command: Command, data_set: DataSetSource | None = None
    ) -> Response:
        """Send a request and return its response. Raises AssociationLost.

        The last P-DATA of a data set in chunks is sent when its iterator has ended; if the iterator
        raises, or the caller is cancelled, the association is aborted.
        """
        return await self._invoker.invoke(context, command, data_set)

    async def echo(self) -> Response:
        """Send a C-ECHO. Raises AssociationLost, and ValueError without a context for it."""
        return await self.invoke(
            self._required(VERIFICATION), Command(CommandField.C_ECHO_RQ, 0, VERIFICATION)
        )

    async def store(
        self,
        context: PresentationContext,
        sop_instance_uid: str,
        data_set: DataSetSource,
        *,
        priority: int = 0,
        move_originator: tuple[str, int] = ("", 0),
    ) -> Response:
        """Send a C-STORE of an instance of the context's class (see `invoke`).

        `move_originator` are AE title and message id of the C-MOVE that causes it.
        """
        title, message_id = move_originator
        command = Command(
            CommandField.C_STORE_RQ,
            0,
            context.abstract_syntax,
            sop_instance_uid,
            priority=priority,
            move_originator_ae_title=title,
            move_originator_message_id=message_id,
        )
        return await self.invoke(context, command, data_set)

    async def event_report(
        self,
        context: PresentationContext,
        sop_instance_uid: str,
        event_type_id: int,
        data_set: bytes | None = None,
    ) -> Response:
        """Send an N-EVENT-REPORT of an instance of the context's class. Raises AssociationLost."""
        command = Command(
            CommandField.N_EVENT_REPORT_RQ,
            0,
            context.abstract_syntax,
            sop_instance_uid,
            event_type_id=event_type_id,
        )
        return await self.invoke(context, command, data_set)

    def _required(self, abstract_syntax: str) -> PresentationContext:
        if (context := self.context(abstract_syntax)) is None:
            raise ValueError(f"No presentation context of {abstract_syntax} was accepted.")
        return context

    # the end

    async def release(self) -> None:
        """Request a release and wait until the association has ended, however it ends."""
        if self._invoker.outstanding:
            self.abort("The association ends before the response to a request.")
        elif self._machine.allows(Event.RELEASE_REQUEST):
            self._on(Event.RELEASE_REQUEST, pdus.encode_release_rq())
        await self._released.wait()

    # callbacks of the connection

    def connection_made(self) -> None:
        """Send the A-ASSOCIATE-RQ: the connection is open."""
        self._on(Event.ASSOCIATE_REQUEST)
        self._on(Event.CONNECTION_CONFIRMED, proposals.encode(self._proposal))

    @property
    def longest_silence(self) -> float | None:
        """None: the time for the answer, for a response and for the release is limited."""
        return None

    @property
    def is_quiet(self) -> bool:
        """Return whether no request waits for its response."""
        return not self._invoker.outstanding

    # reading

    def _take_pdu(self, pdu: pdata.Pdu) -> None:
        if self._machine.state is State.AWAITING_ASSOCIATE_ANSWER:
            if pdu.type is PduType.ASSOCIATE_AC:
                self._answer = decode_accept(pdu.content)
                self._negotiated = conclude(self._proposal, self._answer)
            elif pdu.type is PduType.ASSOCIATE_RJ:
                self._fail(AssociationRejected(*pdus.decode_reject(pdu.content)))
        super()._take_pdu(pdu)

    def _take_message(self, whole: CompleteMessage) -> None:
        """Refuse a request: this side requested the association, and serves nothing on it."""
        if whole.data_set is not None:
            whole.data_set.abandon()
        raise ProtocolError(
            AbortReason.UNEXPECTED_PDU_PARAMETER,
            f"The peer sent a request (kind {whole.command.command_field:04X}H) on an association "
            "that this side opened.",
        )

    def _open_data_set(self, context: PresentationContext, command: Command) -> DataSetSink:
        raise ProtocolError(
            AbortReason.UNEXPECTED_PDU_PARAMETER,
            f"The peer sent a data set of a request (kind {command.command_field:04X}H, context "
            f"{context.context_id}) on an association that this side opened.",
        )

    # effects

    def _confirm_accepted(self) -> None:
        negotiated = self._negotiated
        self._peer_maximum_pdu_length = negotiated.peer_maximum_pdu_length
        self._invoker.allow(negotiated.outstanding)
        self._assembly = Assembly(negotiated.contexts, self._open_data_set, self._flow.hold)
        if not self._established.done():
            self._established.set_result(None)

    def _confirm_rejected(self) -> None:
        self._finish("rejected")

    def _confirm_release(self) -> None:
        self._finish("released")

    def _indicate_release(self) -> None:
        """Answer the peer's A-RELEASE-RQ at once; requests without a response fail."""
        self._explanation = self._explanation or f"{self.peer_name} released the association."
        self._on(Event.RELEASE_RESPONSE)

    def _end(self, outcome: str) -> None:
        no_answer = (
            f"{self.peer_name} closed the connection without an answer to the association request."
        )
        self._fail(PeerUnreachable(no_answer if outcome == "lost" else self._explanation))

    def _fail(self, error: Exception) -> None:
        if not self._established.done():
            self._established.set_exception(error)
            self._established.exception()  # it is raised where the answer is awaited, if it is

    def connection_lost(self) -> None:
        """End the association: the connection is closed."""
        super().connection_lost()
        self._finish("lost")
        self._released.set()

    effects: ClassVar[Mapping[Effect, Callable[[Any], None]]] = {
        **COMMON_EFFECTS,
        Effect.CONNECT: AssociationEnd._nothing,
        Effect.SEND_ASSOCIATE_RQ: AssociationEnd._send,
        Effect.CONFIRM_ACCEPTED: _confirm_accepted,
        Effect.CONFIRM_REJECTED: _confirm_rejected,
        Effect.SEND_RELEASE_RQ: AssociationEnd._send,
        Effect.CONFIRM_RELEASE: _confirm_release,
        Effect.INDICATE_RELEASE: _indicate_release,
    }
