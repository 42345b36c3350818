"""Either end of an association: it carries out the effects of its state machine (PS3.8 9.2).

Bytes come from `connection`. It joins the parts without I/O that both roles have: reading,
assembly, aborts, P-DATA, requests of this side. What only one role does is in `association`
(acceptor) and `requested_association` (requestor). It has no socket and no clock of its own.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from dimse_ingestion.observability.logging import Logger
from dimse_ingestion.upper_layer import pdata, pdus
from dimse_ingestion.upper_layer.assembly import Assembly, CompleteMessage, CompleteResponse
from dimse_ingestion.upper_layer.associate_items import USUAL_PDU_LENGTH
from dimse_ingestion.upper_layer.association_errors import AssociationLost
from dimse_ingestion.upper_layer.flow_control import FlowControl
from dimse_ingestion.upper_layer.incoming_data import IncomingData
from dimse_ingestion.upper_layer.invoker import Invoker
from dimse_ingestion.upper_layer.limits import UpperLayerLimits
from dimse_ingestion.upper_layer.pdus import AbortReason, AbortSource, PduType, ProtocolError
from dimse_ingestion.upper_layer.states import Effect, Event, Machine, Role, State
from dimse_ingestion.upper_layer.transport_connection import Spawn, TransportConnection

_EVENTS = {each: Event[each.name] for each in PduType}


class AssociationEnd:
    """One end of an association; a subclass gives it its role."""

    role: ClassVar[Role]
    effects: ClassVar[Mapping[Effect, Callable[[Any], None]]]
    """The effects that occur in this role."""

    def __init__(
        self,
        limits: UpperLayerLimits,
        connection: TransportConnection,
        spawn: Spawn,
        log: Logger,
    ) -> None:
        self._limits = limits
        self._connection = connection
        self._spawn = spawn
        self._log = log
        self._machine = Machine(self.role)
        self._incoming = IncomingData(
            limits.maximum_pdu_length, connection, self._take, self._is_deciding
        )
        self._flow = FlowControl(connection, spawn)
        self._invoker = Invoker(self, limits.response_timeout)
        self._peer_maximum_pdu_length = USUAL_PDU_LENGTH
        self._assembly: Assembly | None = None
        self._to_send: pdata.Encoded = b""
        self._abort_reason = AbortReason.UNEXPECTED_PDU
        self._last_type = PduType.ABORT
        self._explanation = ""
        self._outcome = ""
        self._aborted = ""

    @property
    def aborted(self) -> str:
        """Why this side has aborted the association; empty if it has not."""
        return self._aborted

    def abort(self, explanation: str) -> None:
        """Send A-ABORT as service user and close; `explanation` is for the log."""
        if self._machine.allows(Event.ABORT_REQUEST):
            self._explanation = explanation
            self._on(Event.ABORT_REQUEST)
        elif self._machine.state is State.AWAITING_ASSOCIATE_RQ:  # no association to abort
            self._connection.close()

    # callbacks of the connection

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
    def _is_within_message(self) -> bool:
        assembling = self._assembly is not None and self._assembly.is_in_progress
        return assembling or self._incoming.is_within_pdu

    # Channel: called by the requests of this side

    @property
    def peer_name(self) -> str:
        """What sentences call the other end."""
        return "The peer"

    @property
    def peer_maximum_pdu_length(self) -> int:
        """Bytes of the longest P-DATA-TF the peer takes; 0 = unlimited."""
        return self._peer_maximum_pdu_length

    def send_p_data(self, content: pdata.Encoded) -> None:
        """Send P-DATA-TF PDUs. Raises AssociationLost when the association has ended."""
        if not self._machine.allows(Event.P_DATA_REQUEST):
            raise AssociationLost(self._explanation or "The association has ended.")
        self._on(Event.P_DATA_REQUEST, content)

    async def drain(self) -> None:
        """Wait until the write buffer has space, or the connection is lost."""
        await self._connection.drain()

    # reading

    def _is_deciding(self) -> bool:
        return self._machine.state is State.AWAITING_LOCAL_ANSWER

    def _take(self, item: pdata.Fragment | pdata.Pdu) -> None:
        if isinstance(item, pdata.Fragment):
            self._take_fragment(item)
        elif item is not pdata.P_DATA or self._machine.state is not State.ESTABLISHED:
            self._take_pdu(item)
        # else action DT-2, which changes nothing: the fragments follow

    def _take_pdu(self, pdu: pdata.Pdu) -> None:
        if pdu.type is PduType.ABORT:
            self._explanation = pdus.decode_abort(pdu.content).description(self.peer_name)
        self._last_type = pdu.type
        event = _EVENTS[pdu.type]
        if self._machine.allows(event):
            self._on(event)

    def _take_fragment(self, fragment: pdata.Fragment) -> None:
        if self._assembly is None or self._outcome:
            return
        whole = self._assembly.take(fragment)
        if isinstance(whole, CompleteResponse):
            self._invoker.take(whole.context, whole.response)
        elif whole is not None:
            self._take_message(whole)

    def _take_message(self, whole: CompleteMessage) -> None:
        """Take a request of the peer. May raise ProtocolError."""
        raise NotImplementedError

    # state machine

    def _on(self, event: Event, to_send: pdata.Encoded = b"", *, acceptable: bool = True) -> None:
        """Handle an event; `to_send` are the bytes that a SEND effect of it writes.

        Effects may raise further events: the machine has changed its state before they run.
        """
        self._to_send = to_send
        for effect in self._machine.on(event, acceptable=acceptable):
            self.effects[effect](self)

    def _send(self) -> None:
        content, self._to_send = self._to_send, b""
        if isinstance(content, bytes):
            self._connection.write(content)
        else:
            self._connection.write_pieces(content)

    def _send_release_rp(self) -> None:
        self._connection.write(pdus.encode_release_rp())
        self._finish("released")

    def _send_abort_as_user(self) -> None:
        self._aborted = self._explanation
        self._connection.write(pdus.encode_abort(AbortSource.USER))
        self._log.warning("Association aborted.", reason=self._explanation)
        self._finish("aborted")

    def _send_abort_as_provider(self) -> None:
        reason = self._abort_reason
        self._connection.write(pdus.encode_abort(AbortSource.PROVIDER, reason))
        if not self._outcome:
            self._explanation = (
                self._explanation or f"A PDU of type {self._last_type.name} is not expected now."
            )
            self._aborted = self._explanation
            self._log.warning(
                "Association aborted.", reason=self._explanation, abort_reason=reason.name.lower()
            )

    def _indicate_abort(self) -> None:
        self._log.info("Association aborted by the peer.", reason=self._explanation)
        self._finish("aborted")

    def _indicate_provider_abort(self) -> None:
        lost = self._machine.state is State.IDLE
        if lost:
            self._explanation = f"{self.peer_name} closed the connection, or it was lost."
            self._log.warning("Connection lost within an association.")
        self._finish("lost" if lost else "aborted")

    def _finish(self, outcome: str) -> None:
        """Release everything the association holds, once: several effects can end it."""
        if self._outcome:
            return
        self._outcome = outcome
        if self._assembly is not None:
            self._assembly.abandon()
        self._invoker.end(self._explanation or f"The association was {outcome}.")
        self._end(outcome)

    def _end(self, outcome: str) -> None:
        """Release what this role holds; called once."""
        raise NotImplementedError

    def _nothing(self) -> None:
        """Do nothing: the fragments of a P-DATA-TF follow and are taken one by one."""


COMMON_EFFECTS: Mapping[Effect, Callable[[AssociationEnd], None]] = {
    Effect.SEND_P_DATA: AssociationEnd._send,
    Effect.SEND_RELEASE_RP: AssociationEnd._send_release_rp,
    Effect.SEND_ABORT_AS_USER: AssociationEnd._send_abort_as_user,
    Effect.SEND_ABORT_AS_PROVIDER: AssociationEnd._send_abort_as_provider,
    Effect.INDICATE_P_DATA: AssociationEnd._nothing,
    Effect.INDICATE_ABORT: AssociationEnd._indicate_abort,
    Effect.INDICATE_PROVIDER_ABORT: AssociationEnd._indicate_provider_abort,
    Effect.START_ARTIM: lambda each: each._connection.start_artim(),
    Effect.STOP_ARTIM: lambda each: each._connection.stop_artim(),
    Effect.CLOSE: lambda each: each._connection.close(),
}
