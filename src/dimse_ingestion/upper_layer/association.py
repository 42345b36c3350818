"""One association of an acceptor: it carries out the effects of its state machine (PS3.8 9.2).

Bytes come from `connection`, requests go to the services. In between it joins the parts without
I/O: reading, negotiation, assembly, performing. It has no socket and no clock of its own.
"""

import secrets
from collections.abc import Callable

from dimse_ingestion.observability.logging import Logger, logger
from dimse_ingestion.upper_layer import negotiation, pdata, pdus, proposals
from dimse_ingestion.upper_layer.assembly import Assembly, CompleteMessage
from dimse_ingestion.upper_layer.decisions import decide
from dimse_ingestion.upper_layer.execute import Performer
from dimse_ingestion.upper_layer.flow_control import FlowControl
from dimse_ingestion.upper_layer.incoming_data import IncomingData
from dimse_ingestion.upper_layer.limits import UpperLayerLimits
from dimse_ingestion.upper_layer.pdus import AbortReason, AbortSource, PduType, ProtocolError
from dimse_ingestion.upper_layer.services import (
    AssociationRequest,
    Command,
    CommandField,
    DataSetSink,
    PresentationContext,
    Rejection,
    Services,
)
from dimse_ingestion.upper_layer.states import Effect, Event, Machine, Role, State
from dimse_ingestion.upper_layer.transport_connection import Spawn, TransportConnection

_EVENTS = {each: Event[each.name] for each in PduType}


class Association:
    """Run one association; it is an `AssociationHandle` after its A-ASSOCIATE-RQ."""

    def __init__(
        self,
        services: Services,
        limits: UpperLayerLimits,
        connection: TransportConnection,
        spawn: Spawn,
        peer: tuple[str, int],
    ) -> None:
        self._services = services
        self._limits = limits
        self._connection = connection
        self._spawn = spawn
        self._peer = peer
        self._id = secrets.token_hex(8)
        self._log: Logger = logger(__name__).bind(association_id=self._id, peer_address=peer[0])
        self._machine = Machine(Role.ACCEPTOR)
        self._incoming = IncomingData(
            limits.maximum_pdu_length, connection, self._take, self._is_deciding
        )
        self._performer = Performer(services, self, spawn)
        self._flow = FlowControl(connection, spawn)
        self._proposal: proposals.Proposal | None = None
        self._request: AssociationRequest | None = None
        self._agreement: negotiation.Agreement | None = None
        self._assembly: Assembly | None = None
        self._to_send = b""
        self._abort_reason = AbortReason.UNEXPECTED_PDU
        self._last_type = PduType.ABORT
        self._explanation = ""
        self._accepted = False
        self._outcome = ""

    # AssociationHandle: called by services

    @property
    def request(self) -> AssociationRequest:
        """The A-ASSOCIATE-RQ that opened this association."""
        if self._request is None:
            raise RuntimeError("No A-ASSOCIATE-RQ has arrived yet.")
        return self._request

    def abort(self, explanation: str) -> None:
        """Send A-ABORT as service user and close; `explanation` is for the log."""
        if self._machine.allows(Event.ABORT_REQUEST):
            self._explanation = explanation
            self._on(Event.ABORT_REQUEST)
        elif self._machine.state is State.AWAITING_ASSOCIATE_RQ:  # no association to abort
            self._connection.close()

    # callbacks of the connection

    def connection_made(self) -> None:
        """Start: the connection is open."""
        self._on(Event.CONNECTION_INDICATED)

    def data_received(self, received: memoryview) -> int:
        """Read bytes of the peer and return how many were consumed; the view is not used later.

        The caller passes the rest again in a later turn of the loop, or when reading resumes.
        """
        try:
            return self._incoming.read(received)
        except ProtocolError as error:
            self._incoming.stop()
            self._abort_reason = error.reason
            if self._machine.allows(
                Event.INVALID_PDU
            ):  # not after an A-ABORT: the association has ended
                self._explanation = error.explanation
                self._on(Event.INVALID_PDU)
        except Exception:  # noqa: BLE001 - a service's sink failed: end this association only
            self._incoming.stop()
            self._log.exception("Receiving failed because of an error in this software.")
            self.abort("Receiving failed.")
        return len(received)

    def connection_lost(self) -> None:
        """End the association: the connection is closed."""
        if self._machine.allows(Event.CONNECTION_CLOSED):
            self._on(Event.CONNECTION_CLOSED)

    def artim_expired(self) -> None:
        """Close: the peer sent no A-ASSOCIATE-RQ in time, or did not close the connection."""
        if self._machine.allows(Event.ARTIM_EXPIRED):
            if self._machine.state is State.AWAITING_ASSOCIATE_RQ:
                self._log.warning("Connection closed: no whole A-ASSOCIATE-RQ came in time.")
            self._on(Event.ARTIM_EXPIRED)

    @property
    def longest_silence(self) -> float | None:
        """Seconds the peer may be silent now; None if this side must act or ARTIM runs."""
        if (
            self._machine.state is not State.ESTABLISHED
            or self._performer.is_busy
            or self._flow.is_paused
        ):
            return None
        return self._limits.dimse_timeout if self._is_within_message else self._limits.idle_timeout

    @property
    def is_quiet(self) -> bool:
        """Return whether no message is being received, performed or answered."""
        return not (self._performer.is_busy or self._is_within_message)

    @property
    def _is_within_message(self) -> bool:
        assembling = self._assembly is not None and self._assembly.is_in_progress
        return assembling or self._incoming.is_within_pdu

    # ResponseSender: called by the performer

    async def respond(self, context_id: int, command: bytes, data_set: bytes | None) -> None:
        """Send a response, unless the association has ended; wait while the peer reads slowly."""
        if self._agreement is None or not self._machine.allows(Event.P_DATA_REQUEST):
            return
        length = self._agreement.peer_maximum_pdu_length
        self._on(Event.P_DATA_REQUEST, pdata.encode(context_id, command, data_set, length))
        await self._connection.drain()

    def request_finished(self) -> None:
        """Resume reading, and answer a pending release, after a request was performed."""
        self._flow.update_backlog(self._performer.queued)
        if not self._performer.is_busy and self._machine.state is State.AWAITING_LOCAL_RELEASE:
            self._on(Event.RELEASE_RESPONSE)

    def _take_pdu(self, pdu: pdata.Pdu) -> None:
        if pdu.type is PduType.ASSOCIATE_RQ and self._machine.state is State.AWAITING_ASSOCIATE_RQ:
            self._take_proposal(proposals.decode(pdu.content))
            return
        if pdu.type is PduType.ABORT:
            self._explanation = pdus.decode_abort(pdu.content).description
        self._last_type = pdu.type
        event = _EVENTS[pdu.type]
        if self._machine.allows(event):
            self._on(event)

    def _take_proposal(self, proposal: proposals.Proposal) -> None:
        rejection = negotiation.provider_rejection(proposal)
        self._proposal = proposal
        self._request = negotiation.association_request(proposal, self._id, *self._peer)
        if rejection is None:
            self._on(Event.ASSOCIATE_RQ)
            return
        self._log.warning("Association rejected.", reason=rejection.explanation)
        self._on(Event.ASSOCIATE_RQ, pdus.encode_reject(rejection), acceptable=False)

    def _is_deciding(self) -> bool:
        return self._machine.state is State.AWAITING_LOCAL_ANSWER

    def _take(self, item: pdata.Fragment | pdata.Pdu) -> None:
        if isinstance(item, pdata.Fragment):
            self._take_fragment(item)
        else:
            self._take_pdu(item)

    def _take_fragment(self, fragment: pdata.Fragment) -> None:
        if self._assembly is None or self._outcome:
            return
        if (whole := self._assembly.take(fragment)) is not None:
            self._take_message(whole)

    def _take_message(self, whole: CompleteMessage) -> None:
        if whole.command.command_field == CommandField.C_CANCEL_RQ:
            self._performer.cancel(whole.command.message_id)
            if whole.data_set is not None:
                whole.data_set.abandon()
            return
        self._performer.add(whole)
        self._flow.update_backlog(self._performer.queued)

    def _open_data_set(self, context: PresentationContext, command: Command) -> DataSetSink:
        return self._services.open_data_set(self, context, command)

    async def _decide(self, proposal: proposals.Proposal) -> None:
        length = self._limits.maximum_pdu_length
        decision = await decide(self._services, self, proposal, length)
        self._answer(decision)
        self._incoming.proposal_answered()

    def _answer(self, decision: negotiation.Agreement | Rejection) -> None:
        if isinstance(decision, Rejection):
            if self._machine.allows(Event.REJECT_RESPONSE):
                self._on(Event.REJECT_RESPONSE, pdus.encode_reject(decision))
            return
        self._accepted = True
        if self._outcome:  # the association ended while the service was deciding
            self._services.association_ended(self, self._outcome)
            return
        self._agreement = decision
        self._assembly = Assembly(decision.contexts, self._open_data_set, self._flow.hold)
        self._on(Event.ACCEPT_RESPONSE, decision.answer)

    # state machine

    def _on(self, event: Event, to_send: bytes = b"", *, acceptable: bool = True) -> None:
        """Handle an event; `to_send` are the bytes that a SEND effect of it writes.

        Effects may raise further events: the machine has changed its state before they run.
        """
        self._to_send = to_send
        for effect in self._machine.on(event, acceptable=acceptable):
            _EFFECTS[effect](self)

    def _send(self) -> None:
        self._connection.write(self._to_send)

    def _send_release_rp(self) -> None:
        self._connection.write(pdus.encode_release_rp())
        self._finish("released")

    def _send_abort_as_user(self) -> None:
        self._connection.write(pdus.encode_abort(AbortSource.USER))
        self._log.warning("Association aborted.", reason=self._explanation)
        self._finish("aborted")

    def _send_abort_as_provider(self) -> None:
        reason = self._abort_reason
        self._connection.write(pdus.encode_abort(AbortSource.PROVIDER, reason))
        if not self._outcome:
            explanation = (
                self._explanation or f"A PDU of type {self._last_type.name} is not expected now."
            )
            self._log.warning(
                "Association aborted.", reason=explanation, abort_reason=reason.name.lower()
            )

    def _indicate_associate(self) -> None:
        if self._proposal is not None:
            self._spawn(self._decide(self._proposal), "deciding on an association")

    def _indicate_release(self) -> None:
        self._performer.cancel_all()
        if not self._performer.is_busy:
            self._on(Event.RELEASE_RESPONSE)

    def _indicate_abort(self) -> None:
        self._log.info("Association aborted by the peer.", reason=self._explanation)
        self._finish("aborted")

    def _indicate_provider_abort(self) -> None:
        lost = self._machine.state is State.IDLE
        if lost:
            self._log.warning("Connection lost within an association.")
        self._finish("lost" if lost else "aborted")

    def _finish(self, outcome: str) -> None:
        """Release everything the association holds, once: several effects can end it."""
        if self._outcome:
            return
        self._outcome = outcome
        if self._assembly is not None:
            self._assembly.abandon()
        self._performer.end()
        if self._accepted:
            self._services.association_ended(self, outcome)

    def _nothing(self) -> None:
        """Do nothing: the fragments of a P-DATA-TF follow and are taken one by one."""


# The effects that occur in the role of acceptor.
_EFFECTS: dict[Effect, Callable[[Association], None]] = {
    Effect.SEND_ASSOCIATE_AC: Association._send,
    Effect.SEND_ASSOCIATE_RJ: Association._send,
    Effect.SEND_P_DATA: Association._send,
    Effect.SEND_RELEASE_RP: Association._send_release_rp,
    Effect.SEND_ABORT_AS_USER: Association._send_abort_as_user,
    Effect.SEND_ABORT_AS_PROVIDER: Association._send_abort_as_provider,
    Effect.INDICATE_ASSOCIATE: Association._indicate_associate,
    Effect.INDICATE_P_DATA: Association._nothing,
    Effect.INDICATE_RELEASE: Association._indicate_release,
    Effect.INDICATE_ABORT: Association._indicate_abort,
    Effect.INDICATE_PROVIDER_ABORT: Association._indicate_provider_abort,
    Effect.START_ARTIM: lambda each: each._connection.start_artim(),
    Effect.STOP_ARTIM: lambda each: each._connection.stop_artim(),
    Effect.CLOSE: lambda each: each._connection.close(),
}
