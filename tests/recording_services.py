"""A small `Services` for tests: it accepts and records everything, and answers as configured."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from dimse_ingestion.dicom.status import Status
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

C_STORE_RQ, C_FIND_RQ, C_ECHO_RQ = 0x0001, 0x0020, 0x0030


class MemorySink:
    """A sink in memory."""

    def __init__(self, slow: Callable[[], Awaitable[None]] | None = None) -> None:
        self.content = bytearray()
        self.abandoned = False
        self._slow = slow

    def write(self, fragment: bytes | memoryview) -> Awaitable[None] | None:
        assert not self.abandoned
        self.content += fragment
        return self._slow() if self._slow else None

    def abandon(self) -> None:
        self.abandoned = True


def first(abstract_syntax: str, transfer_syntaxes: tuple[str, ...]) -> str | None:
    """Accept the first proposed transfer syntax."""
    return transfer_syntaxes[0] if transfer_syntaxes else ""


async def succeed(message: Message) -> None:
    await message.respond(Status.SUCCESS)


@dataclass
class RecordingServices:
    """Record requests in order; `answer` answers a message, `decision` an association."""

    answer: Callable[[Message], Awaitable[None]] = succeed
    decision: Acceptance | Rejection = field(default_factory=lambda: Acceptance(first))
    slow: Callable[[], Awaitable[None]] | None = None
    requests: list[AssociationRequest] = field(default_factory=list)
    sinks: list[MemorySink] = field(default_factory=list)
    performed: list[Message] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def associate(self, request: AssociationRequest) -> Acceptance | Rejection:
        self.requests.append(request)
        return self.decision

    def open_data_set(
        self, association: AssociationHandle, context: PresentationContext, command: Command
    ) -> DataSetSink:
        self.sinks.append(MemorySink(self.slow))
        return self.sinks[-1]

    async def perform(self, message: Message) -> None:
        self.performed.append(message)
        self.changed.set()
        await self.answer(message)

    def association_ended(self, association: AssociationHandle, outcome: str) -> None:
        self.ends.append(outcome)
        self.changed.set()

    @property
    def stored(self) -> list[bytes]:
        """The data set of each C-STORE performed."""
        return [
            bytes(message.data_set.content)
            for message in self.performed
            if message.command.command_field == C_STORE_RQ
            and isinstance(message.data_set, MemorySink)
        ]

    async def eventually(self, so: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until something is so; AssertionError with what was seen."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not so():
            assert asyncio.get_running_loop().time() < deadline, f"last seen: {self}"
            await asyncio.sleep(0.01)
