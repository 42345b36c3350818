"""The way from an association to its storage space, which the called AE title chooses.

It implements the upper layer's `Services` for all spaces on one port. An association stays with the
space that accepted it, whatever the settings are later.
"""

from dimse_ingestion.observability.logging import log_context
from dimse_ingestion.proxy.acceptance import reject, unknown_called_ae_title
from dimse_ingestion.proxy.audit import AssociationAudit
from dimse_ingestion.proxy.space import Space
from dimse_ingestion.upper_layer.services import (
    Acceptance,
    AssociationHandle,
    AssociationRequest,
    Command,
    DataSetSink,
    Message,
    PresentationContext,
    Rejection,
)


class SpaceRouter:
    """Pass each association and its requests to a space; report the associations to `audit`."""

    def __init__(self, audit: AssociationAudit | None = None) -> None:
        self._audit = audit
        self.spaces: dict[str, Space] = {}
        """The spaces that take new associations, by AE title."""
        self._by_association: dict[str, Space] = {}
        self._is_draining = False

    @property
    def open_associations(self) -> int:
        """The number of associations of all spaces."""
        return len(self._by_association)

    def add(self, space: Space) -> None:
        """Take associations for a space from now on."""
        space.admission.draining = self._is_draining
        self.spaces[space.settings.ae_title] = space

    def remove(self, title: str) -> Space:
        """Take no more associations for a space, and return it."""
        return self.spaces.pop(title)

    def has_associations(self, space: Space) -> bool:
        """Return whether an association of this space is open."""
        return any(each is space for each in self._by_association.values())

    def drain(self) -> None:
        """Reject every new association, because the proxy is shutting down."""
        self._is_draining = True
        for space in self.spaces.values():
            space.admission.draining = True

    async def associate(self, request: AssociationRequest) -> Acceptance | Rejection:
        """Have the space of the called AE title decide; an unknown title is rejected."""
        decision = await self._decide(request)
        if self._audit is not None and isinstance(decision, Rejection):
            self._audit.rejected(request, decision)
        return decision

    async def _decide(self, request: AssociationRequest) -> Acceptance | Rejection:
        space = self._called(request)
        if space is None:
            return reject(request, unknown_called_ae_title(self.spaces))
        with log_context(space=space.settings.ae_title):
            decision = await space.bridge.associate(request)
        if isinstance(decision, Acceptance):
            self._by_association[request.association_id] = space
        return decision

    def association_ended(self, association: AssociationHandle, outcome: str) -> None:
        """Have the association's space stop counting it; one that was rejected has none."""
        space = self._by_association.pop(association.request.association_id, None)
        if space is not None:
            with log_context(space=space.settings.ae_title):
                space.bridge.association_ended(association, outcome)
            if self._audit is not None:
                self._audit.ended(association.request.association_id)

    def open_data_set(
        self, association: AssociationHandle, context: PresentationContext, command: Command
    ) -> DataSetSink:
        """Return the sink of the association's space for a data set."""
        space = self._by_association[association.request.association_id]
        return space.bridge.open_data_set(association, context, command)

    async def perform(self, message: Message) -> None:
        """Have the association's space perform a request; after the association, drop it."""
        space = self._by_association.get(message.association.request.association_id)
        if space is None:
            if message.data_set is not None:
                message.data_set.abandon()
            return
        with log_context(space=space.settings.ae_title):
            await space.bridge.perform(message)

    def _called(self, request: AssociationRequest) -> Space | None:
        """Return the space of the called AE title; the only one decides on any title itself."""
        if len(self.spaces) == 1:
            return next(iter(self.spaces.values()))
        return self.spaces.get(request.called_ae_title)
