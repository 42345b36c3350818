"""Services of the upper layer that take each data set into memory, answer, and discard it."""

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.upper_layer.services import (
    Acceptance,
    AssociationHandle,
    AssociationRequest,
    Command,
    Message,
    PresentationContext,
    Rejection,
)


class _MemorySink:
    """The data set in memory, as pynetdicom has it."""

    def __init__(self) -> None:
        self._content: list[bytes] = []

    def write(self, fragment: bytes | memoryview) -> None:
        self._content.append(bytes(fragment))

    def abandon(self) -> None:
        self._content.clear()


def _first(_: str, transfer_syntaxes: tuple[str, ...]) -> str:
    return transfer_syntaxes[0]


class DiscardingServices:
    """Accept everything and answer Success."""

    async def associate(self, _: AssociationRequest) -> Acceptance | Rejection:
        """Accept the first transfer syntax of each context."""
        return Acceptance(_first)

    def open_data_set(
        self, _association: AssociationHandle, _context: PresentationContext, _command: Command
    ) -> _MemorySink:
        """Return a sink in memory."""
        return _MemorySink()

    async def perform(self, message: Message) -> None:
        """Answer Success."""
        await message.respond(Status.SUCCESS)

    def association_ended(self, _association: AssociationHandle, _outcome: str) -> None:
        """Do nothing."""
