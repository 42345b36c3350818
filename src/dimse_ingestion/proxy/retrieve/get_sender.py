"""The sub-operations of a C-GET: C-STORE on the association that requested it (PS3.4 C.4.3)."""

from collections.abc import Sequence

from dimse_ingestion.failures import Refused
from dimse_ingestion.proxy.retrieve.sender import DataSet
from dimse_ingestion.transport.protocol.messages import RetrieveInstance
from dimse_ingestion.upper_layer.services import (
    AssociationHandle,
    Command,
    CommandField,
    PresentationContext,
)


class GetSender:
    """A `SubOperationSender` on the requestor's own association."""

    is_separate = False

    def __init__(self, association: AssociationHandle, priority: int) -> None:
        self._association = association
        self._priority = priority
        self._contexts: dict[str, dict[str, PresentationContext]] = {}
        for each in association.contexts.values():
            if each.requestor_is_scp:
                syntaxes = self._contexts.setdefault(each.abstract_syntax, {})
                syntaxes.setdefault(each.transfer_syntax_uid, each)

    async def open(self, instances: Sequence[RetrieveInstance]) -> Sequence[RetrieveInstance]:
        """Return the instances: the association is open."""
        return instances

    def transfer_syntaxes(self, instance: RetrieveInstance) -> Sequence[str]:
        """Return the transfer syntaxes of the contexts in which the requestor is SCP."""
        return tuple(self._contexts.get(instance.sop_class_uid, ()))

    def refusal(self, instance: RetrieveInstance) -> str:
        """Return why no transfer syntax is accepted, and what to configure."""
        contexts = self._association.contexts.values()
        if instance.sop_class_uid in self._contexts:
            syntax = instance.transfer_syntax_uid
            return f"Propose {syntax} for SOP class {instance.sop_class_uid}"
        if any(each.abstract_syntax == instance.sop_class_uid for each in contexts):
            return f"Propose the SCP role (role selection) for SOP class {instance.sop_class_uid}"
        return f"Propose SOP class {instance.sop_class_uid} with the SCP role"

    async def store(
        self, instance: RetrieveInstance, transfer_syntax_uid: str, data_set: DataSet
    ) -> int:
        """Send one instance. Raises AssociationLost, and Failure of the data set."""
        context = self._contexts[instance.sop_class_uid].get(transfer_syntax_uid)
        if context is None:
            raise Refused("The transfer syntax was not negotiated")
        command = Command(
            CommandField.C_STORE_RQ,
            0,
            instance.sop_class_uid,
            instance.sop_instance_uid,
            priority=self._priority,
        )
        response = await self._association.invoke(context, command, data_set.content())
        return response.status

    async def close(self) -> None:
        """Do nothing: the requestor ends its association."""
