"""One association of an acceptor: requests of the peer go to the services (PS3.8 9.2).

What both roles do is in `association_end`.
"""

import secrets
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from dimse_ingestion.observability.logging import logger
from dimse_ingestion.upper_layer import negotiation, pdata, pdus, proposals
from dimse_ingestion.upper_layer.assembly import Assembly, CompleteMessage
from dimse_ingestion.upper_layer.association_end import COMMON_EFFECTS, AssociationEnd
from dimse_ingestion.upper_layer.decisions import decide
from dimse_ingestion.upper_layer.execute import Performer
from dimse_ingestion.upper_layer.flow_control import MAXIMUM_QUEUED
from dimse_ingestion.upper_layer.limits import UpperLayerLimits
from dimse_ingestion.upper_layer.pdus import PduType
from dimse_ingestion.upper_layer.services import (
    AssociationRequest,
    Command,
    CommandField,
    DataSetSink,
    DataSetSource,
    PresentationContext,
    Rejection,
    Response,
    Services,
)
from dimse_ingestion.upper_layer.states import Effect, Event, Role, State
from dimse_ingestion.upper_layer.transport_connection import Spawn, TransportConnection


class Association(AssociationEnd):
    """Run one association; it is an `AssociationHandle` after its A-ASSOCIATE-RQ."""

    role = Role.ACCEPTOR

    def __init__(
        self,
        services: Services,
        limits: UpperLayerLimits,
        connection: TransportConnection,
        spawn: Spawn,
        peer: tuple[str, int],
    ) -> None:
        self._id = secrets.token_hex(8)
        log = logger(__name__).bind(association_id=self._id, peer_address=peer[0])
        super().__init__(limits, connection, spawn, log)
        self._services = services
        self._peer = peer
        self._performer = Performer(services, self, spawn)
        self._proposal: proposals.Proposal | None = None
        self._request: AssociationRequest | None = None
        self._agreement: negotiation.Agreement | None = None
        self._accepted = False

    # AssociationHandle: called by services

    @property
    def request(self) -> AssociationRequest:
        """The A-ASSOCIATE-RQ that opened this association."""
        if self._request is None:
            raise RuntimeError("No A-ASSOCIATE-RQ has arrived yet.")
        return self._request

    @property
    def contexts(self) -> Mapping[int, PresentationContext]:
        """The accepted presentation contexts."""
        return {} if self._agreement is None else self._agreement.contexts

    async def invoke(
        self, context: PresentationContext, command: Command, data_set: DataSetSource | None = None
    ) -> Response:
        """Send a request to the peer and return its response (see `Invoker.invoke`)."""
        return await self._invoker.invoke(context, command, data_set)

    # callbacks of the connection

    def connection_made(self) -> None:
        """Start: the connection is open."""
        self._on(Event.CONNECTION_INDICATED)

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

    # ResponseSender: called by the performer

    async def respond(self, context_id: int, command: bytes, data_set: bytes | None) -> None:
        """Send a response, unless the association has ended; wait while the peer reads slowly."""
        if self._agreement is None or not self._machine.allows(Event.P_DATA_REQUEST):
            return
        length = self._peer_maximum_pdu_length
        self._on(Event.P_DATA_REQUEST, pdata.encode(context_id, command, data_set, length))
        await self._connection.drain()

    def request_finished(self) -> None:
        """Resume reading, and answer a pending release, after a request was performed."""
        self._limit_backlog()
        if not self._performer.is_busy and self._machine.state is State.AWAITING_LOCAL_RELEASE:
            self._on(Event.RELEASE_RESPONSE)

    def _take_pdu(self, pdu: pdata.Pdu) -> None:
        if pdu.type is PduType.ASSOCIATE_RQ and self._machine.state is State.AWAITING_ASSOCIATE_RQ:
            self._take_proposal(proposals.decode(pdu.content))
        else:
            super()._take_pdu(pdu)

    def _take_proposal(self, proposal: proposals.Proposal) -> None:
        rejection = negotiation.provider_rejection(proposal)
        self._proposal = proposal
        self._request = negotiation.association_request(proposal, self._id, *self._peer)
        if rejection is None:
            self._on(Event.ASSOCIATE_RQ)
            return
        self._log.warning("Association rejected.", reason=rejection.explanation)
        self._on(Event.ASSOCIATE_RQ, pdus.encode_reject(rejection), acceptable=False)

    def _take_message(self, whole: CompleteMessage) -> None:
        if whole.command.command_field == CommandField.C_CANCEL_RQ:
            self._performer.cancel(whole.command.message_id)
            if whole.data_set is not None:
                whole.data_set.abandon()
            return
        self._performer.add(whole)
        self._limit_backlog()

    def _limit_backlog(self) -> None:
        """Stop reading behind too many requests, and abort where reading has to go on."""
        waiting = self._performer.queued
        if waiting >= MAXIMUM_QUEUED and self._performer.needs_reading:
            self.abort(
                f"The peer sent {waiting} requests behind a C-MOVE or C-GET that is not answered: "
                "only one operation at a time is agreed (PS3.7 D.3.3.3)."
            )
            return
        self._flow.update_backlog(waiting)

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
        self._peer_maximum_pdu_length = decision.peer_maximum_pdu_length
        self._assembly = Assembly(decision.contexts, self._open_data_set, self._flow.hold)
        self._on(Event.ACCEPT_RESPONSE, decision.answer)

    # effects

    def _indicate_associate(self) -> None:
        if self._proposal is not None:
            self._spawn(self._decide(self._proposal), "deciding on an association")

    def _indicate_release(self) -> None:
        """Answer, or cancel what is performed and answer then.

        Abort where a C-GET waits for a response, which a peer that releases must not send any more
        (PS3.8 9.2.1, Sta7).
        """
        self._performer.cancel_all()
        if not self._performer.is_busy:
            self._on(Event.RELEASE_RESPONSE)
        elif self._invoker.outstanding:
            self.abort("The peer asked for release before it answered a C-STORE of its C-GET.")

    def _end(self, outcome: str) -> None:
        self._performer.end()
        if self._accepted:
            self._services.association_ended(self, outcome)

    effects: ClassVar[Mapping[Effect, Callable[[Any], None]]] = {
        **COMMON_EFFECTS,
        Effect.SEND_ASSOCIATE_AC: AssociationEnd._send,
        Effect.SEND_ASSOCIATE_RJ: AssociationEnd._send,
        Effect.INDICATE_ASSOCIATE: _indicate_associate,
        Effect.INDICATE_RELEASE: _indicate_release,
    }
