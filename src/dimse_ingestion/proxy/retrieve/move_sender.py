"""The sub-operations of a C-MOVE: C-STORE on an association to the move destination (PS3.4 C.4.2).

The association is opened with the AE title that was called, and named to be for this move. When it
is lost it is opened again, and the instance without a response is sent again.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

from dimse_ingestion.background_tasks import result_unless
from dimse_ingestion.failures import Failure, Refused
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.proxy.peers import PeerAssociations
from dimse_ingestion.proxy.retrieve.move_contexts import proposals
from dimse_ingestion.proxy.retrieve.sender import DataSet, NotBegun
from dimse_ingestion.settings import Peer
from dimse_ingestion.transport.protocol.messages import RetrieveInstance
from dimse_ingestion.upper_layer.associate_ac import ContextResult
from dimse_ingestion.upper_layer.association_errors import (
    AssociationLost,
    AssociationRejected,
    PeerUnreachable,
)
from dimse_ingestion.upper_layer.requested_association import RequestedAssociation
from dimse_ingestion.upper_layer.requestor_negotiation import ProposedContext
from dimse_ingestion.upper_layer.services import Message

_LOG = logger(__name__)
REOPENED_AFTER = (0.5, 2.0)
"""Seconds before each time that a lost association is opened again for one instance."""
_OF_THE_ASSOCIATION = (AssociationLost, AssociationRejected, PeerUnreachable)
_MOST_LOST = 3
"""Instances lost in a row, after which the destination is given up."""


class MoveSender:
    """A `SubOperationSender` to a peer."""

    is_separate = True

    def __init__(
        self,
        associations: PeerAssociations,
        destination: Peer,
        message: Message,
        reopened_after: Sequence[float] = REOPENED_AFTER,
    ) -> None:
        self._associations = associations
        self._destination = destination
        self._message = message
        request = message.association.request
        self._calling_ae_title = request.called_ae_title
        self._originator = (request.calling_ae_title, message.command.message_id)
        self._priority = message.command.priority
        self._reopened_after = reopened_after
        self._groups: dict[str, list[ProposedContext]] = {}  # by class: those of its association
        self._accepted: dict[str, dict[str, None]] = {}
        self._refused_syntaxes: set[str] = set()  # classes without an accepted transfer syntax
        self._open_contexts: list[ProposedContext] | None = None
        self._association: RequestedAssociation | None = None
        self._stack = AsyncExitStack()
        self._lost_in_a_row = 0
        self._given_up: Failure | None = None

    async def open(self, instances: Sequence[RetrieveInstance]) -> Sequence[RetrieveInstance]:
        """Open an association, and return the instances grouped by the association they need.

        What the destination accepts must be known before the first instance is sent, so where
        there are several associations, each is opened once for its answer. A C-CANCEL ends the
        wait, and nothing is returned. Raises Failure.
        """
        order: dict[str, int] = {}
        for number, classes in enumerate(proposals(instances)):
            contexts = [context for each in classes.values() for context in each]
            for sop_class_uid in classes:
                self._groups[sop_class_uid] = contexts
                order[sop_class_uid] = number
        ordered = sorted(instances, key=lambda each: order[each.sop_class_uid])
        return await result_unless(self._message.cancelled, self._open(ordered)) or ()

    async def _open(self, ordered: Sequence[RetrieveInstance]) -> Sequence[RetrieveInstance]:
        groups = {id(each): each for each in self._groups.values()}
        first = self._groups[ordered[0].sop_class_uid]
        for contexts in (*(each for each in groups.values() if each is not first), first):
            await self._open_association(contexts)
        return ordered

    def transfer_syntaxes(self, instance: RetrieveInstance) -> Sequence[str]:
        """Return the transfer syntaxes that the destination accepted for the class."""
        return tuple(self._accepted.get(instance.sop_class_uid, ()))

    def refusal(self, instance: RetrieveInstance) -> str:
        """Return that the destination refuses the instance, and what to configure there."""
        title, sop_class_uid = self._destination.ae_title, instance.sop_class_uid
        if sop_class_uid in self._refused_syntaxes:
            offered = self._offered_syntaxes(sop_class_uid)
            return (
                f"{title} refuses the transfer syntaxes of SOP class {sop_class_uid}: let it "
                f"accept one of {', '.join(offered)}"
            )
        if sop_class_uid not in self._accepted:
            return f"{title} refuses SOP class {sop_class_uid}: let it accept that class"
        syntax = instance.transfer_syntax_uid
        return f"{title} refuses transfer syntax {syntax}: let it accept that for {sop_class_uid}"

    def _offered_syntaxes(self, sop_class_uid: str) -> Sequence[str]:
        """Return the transfer syntaxes that were proposed for a class, in all of its contexts."""
        return tuple(
            dict.fromkeys(
                syntax
                for context in self._groups[sop_class_uid]
                if context.abstract_syntax == sop_class_uid
                for syntax in context.transfer_syntaxes
            )
        )

    async def store(
        self, instance: RetrieveInstance, transfer_syntax_uid: str, data_set: DataSet
    ) -> int:
        """Send one instance, again when the association is lost. Raises Failure and NotBegun.

        After a C-CANCEL it is not sent again, and no association is awaited for it.
        """
        if self._given_up is not None:
            raise self._given_up
        lost: Failure | None = None
        for delay in (*self._reopened_after, None):
            try:
                status = await self._store(instance, transfer_syntax_uid, data_set)
            except NotBegun:
                if lost is None:
                    raise
                raise lost from None  # its C-STORE was begun before, and has failed
            except _OF_THE_ASSOCIATION as error:  # another failure is the data set's
                if delay is None:
                    self._count_lost(error)
                    raise
                if isinstance(error, AssociationLost):  # the others come before its C-STORE
                    lost = error
                await result_unless(self._message.cancelled, asyncio.sleep(delay))
            else:
                self._lost_in_a_row = 0
                return status
        raise AssertionError("The last attempt returns or raises.")

    async def close(self) -> None:
        """Release the association."""
        self._association = self._open_contexts = None
        stack, self._stack = self._stack, AsyncExitStack()
        await stack.aclose()

    async def _store(
        self, instance: RetrieveInstance, transfer_syntax_uid: str, data_set: DataSet
    ) -> int:
        association = await self._use(self._groups[instance.sop_class_uid])
        context = association.context(instance.sop_class_uid, transfer_syntax_uid)
        if context is None:
            raise Refused(f"{self._destination.ae_title} does not accept the class any more")
        response = await association.store(
            context,
            instance.sop_instance_uid,
            data_set.content(),
            priority=self._priority,
            move_originator=self._originator,
        )
        return response.status

    async def _use(self, contexts: list[ProposedContext]) -> RequestedAssociation:
        """Return an established association with these contexts. Raises Failure and NotBegun."""
        association = self._association
        is_usable = association is not None and association.is_established
        if not is_usable or self._open_contexts is not contexts:
            association = await result_unless(
                self._message.cancelled, self._open_association(contexts)
            )
        if association is None or self._message.cancelled.is_set():
            raise NotBegun
        return association

    async def _open_association(self, contexts: list[ProposedContext]) -> RequestedAssociation:
        """Open an association with these contexts in place of the one there is. Raises Failure."""
        await self.close()
        association = await self._stack.enter_async_context(
            self._associations.open(self._destination, self._calling_ae_title, contexts)
        )
        for each in association.contexts.values():
            self._accepted.setdefault(each.abstract_syntax, {})[each.transfer_syntax_uid] = None
        self._refused_syntaxes |= {
            sop_class_uid
            for sop_class_uid, result in association.negotiated.refused.items()
            if result is ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED
        }
        self._refused_syntaxes -= self._accepted.keys()
        self._association, self._open_contexts = association, contexts
        return association

    def _count_lost(self, error: Failure) -> None:
        """Give the destination up when it is not reached, or loses one instance after another."""
        self._lost_in_a_row += 1
        if not isinstance(error, AssociationLost) or self._lost_in_a_row >= _MOST_LOST:
            self._given_up = error
            _LOG.warning(
                "Move destination given up.",
                destination=self._destination.ae_title,
                reason=error.comment,
            )
