"""Requests performed one after another, and the way back for their responses.

One association has one `Performer`. A C-CANCEL-RQ overtakes what waits: it is looked at when it
arrives. It knows nothing of PDUs received or of states.
"""

import asyncio
from collections import deque
from typing import Protocol

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.upper_layer.assembly import CompleteMessage
from dimse_ingestion.upper_layer.command_set import encode_response
from dimse_ingestion.upper_layer.services import AssociationHandle, Services
from dimse_ingestion.upper_layer.transport_connection import Spawn

_LOG = logger(__name__)


class ResponseSender(AssociationHandle, Protocol):
    """What a request asks of its association."""

    async def respond(self, context_id: int, command: bytes, data_set: bytes | None) -> None:
        """Send a response unless the association has ended; wait while the peer reads slowly."""

    def request_finished(self) -> None:
        """One request less: more may be read, a release may be answered."""


class Request:
    """A `services.Message`."""

    __slots__ = ("_sender", "association", "cancelled", "command", "context", "data_set")

    def __init__(self, sender: ResponseSender, whole: CompleteMessage) -> None:
        self._sender = sender
        self.association: AssociationHandle = sender
        self.context = whole.context
        self.command = whole.command
        self.data_set = whole.data_set
        self.cancelled = asyncio.Event()

    async def respond(
        self, status: Status, *, comment: str = "", identifier: bytes | None = None
    ) -> None:
        """Send one response (see `services.Message`)."""
        command = encode_response(
            self.command, status, comment=comment, has_data_set=identifier is not None
        )
        await self._sender.respond(self.context.context_id, command, identifier)


class Performer:
    """The requests of one association, from whole to performed."""

    def __init__(self, services: Services, sender: ResponseSender, spawn: Spawn) -> None:
        self._services = services
        self._sender = sender
        self._spawn = spawn
        self._queue: deque[Request] = deque()
        self._current: Request | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a request is being performed or waits."""
        return self._task is not None

    @property
    def queued(self) -> int:
        """Requests that wait."""
        return len(self._queue)

    def add(self, whole: CompleteMessage) -> None:
        """Perform a request when its turn comes."""
        self._queue.append(Request(self._sender, whole))
        if self._task is None:
            self._task = self._spawn(self._run(), "performing")

    def cancel(self, message_id: int) -> None:
        """The peer wants no more of this request; one that isn't known is over already."""
        for request in self._known():
            if request.command.message_id == message_id:
                request.cancelled.set()

    def cancel_all(self) -> None:
        """The peer wants nothing more of anything."""
        for request in self._known():
            request.cancelled.set()

    def end(self) -> None:
        """The association is over: what waits is dropped, what is performed knows it."""
        self.cancel_all()
        for request in self._queue:
            if request.data_set is not None:
                request.data_set.abandon()
        self._queue.clear()

    def _known(self) -> list[Request]:
        return [*self._queue] if self._current is None else [self._current, *self._queue]

    async def _run(self) -> None:
        try:
            while self._queue:
                self._current = self._queue.popleft()
                await self._perform(self._current)
                self._current = None
                if self._queue:
                    self._sender.request_finished()
        finally:
            self._current = self._task = None
            self._sender.request_finished()

    async def _perform(self, request: Request) -> None:
        try:
            await self._services.perform(request)
        except Exception:  # noqa: BLE001 - whatever a service forgot, the peer gets an answer
            _LOG.exception(
                "A request failed by a mistake of ours.",
                association_id=request.association.request.association_id,
                message_id=request.command.message_id,
                command_field=f"{request.command.command_field:04X}",
            )
            await request.respond(Status.PROCESSING_FAILURE, comment="Internal error")
