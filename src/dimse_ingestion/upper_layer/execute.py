"""The queue of an association's requests: it performs them one at a time and sends responses.

A C-CANCEL-RQ is not queued: it takes effect when it arrives. This module knows neither PDUs nor
association states.
"""

import asyncio
from collections import deque
from typing import Protocol

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.upper_layer.assembly import CompleteMessage
from dimse_ingestion.upper_layer.command_set import encode_response
from dimse_ingestion.upper_layer.services import (
    AssociationHandle,
    CommandField,
    Services,
    SubOperationCounts,
)
from dimse_ingestion.upper_layer.transport_connection import Spawn

_LOG = logger(__name__)
_RETRIEVES = (CommandField.C_GET_RQ, CommandField.C_MOVE_RQ)


class ResponseSender(AssociationHandle, Protocol):
    """The association as its requests use it: to send responses."""

    async def respond(self, context_id: int, command: bytes, data_set: bytes | None) -> None:
        """Send a response, unless the association has ended; wait while the peer reads slowly."""

    def request_finished(self) -> None:
        """Resume reading, and answer a pending release, after a request was performed."""


class Request:
    """A request with its response method: the implementation of `services.Message`."""

    __slots__ = ("_cancelled", "_sender", "association", "command", "context", "data_set")

    def __init__(self, sender: ResponseSender, whole: CompleteMessage) -> None:
        self._sender = sender
        self.association: AssociationHandle = sender
        self.context = whole.context
        self.command = whole.command
        self.data_set = whole.data_set
        self._cancelled: asyncio.Event | bool = False

    @property
    def cancelled(self) -> asyncio.Event:
        """The event that a cancel sets; created when a service first uses it."""
        if isinstance(self._cancelled, bool):
            is_cancelled, self._cancelled = self._cancelled, asyncio.Event()
            if is_cancelled:
                self._cancelled.set()
        return self._cancelled

    def cancel(self) -> None:
        """Cancel the request; harmless if repeated."""
        if isinstance(self._cancelled, bool):
            self._cancelled = True
        else:
            self._cancelled.set()

    async def respond(
        self,
        status: Status,
        *,
        comment: str = "",
        identifier: bytes | None = None,
        sub_operations: SubOperationCounts | None = None,
    ) -> None:
        """Send one response (see `services.Message`)."""
        command = encode_response(
            self.command,
            status,
            comment=comment,
            has_data_set=identifier is not None,
            sub_operations=sub_operations,
        )
        await self._sender.respond(self.context.context_id, command, identifier)


class Performer:
    """Perform the complete requests of one association in order."""

    def __init__(self, services: Services, sender: ResponseSender, spawn: Spawn) -> None:
        self._services = services
        self._sender = sender
        self._spawn = spawn
        self._queue: deque[Request] = deque()
        self._current: Request | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def is_busy(self) -> bool:
        """Return whether a request is being performed or queued."""
        return self._task is not None

    @property
    def queued(self) -> int:
        """The number of queued requests, without the one being performed or about to be."""
        is_about_to = self._current is None and bool(self._queue)
        return len(self._queue) - is_about_to

    @property
    def needs_reading(self) -> bool:
        """Whether a C-GET or C-MOVE is being performed, or about to be.

        Reading must not pause for these: the peer answers the sub-operations of a C-GET, cancels
        them, or is gone, which is noticed only by reading.
        """
        request = self._current or next(iter(self._queue), None)
        return request is not None and request.command.command_field in _RETRIEVES

    def add(self, whole: CompleteMessage) -> None:
        """Queue a request, and start performing if idle."""
        self._queue.append(Request(self._sender, whole))
        if self._task is None:
            self._task = self._spawn(self._run(), "performing")

    def cancel(self, message_id: int) -> None:
        """Cancel the request with this message id, if it is not finished yet."""
        for request in self._known():
            if request.command.message_id == message_id:
                request.cancel()

    def cancel_all(self) -> None:
        """Cancel all requests."""
        for request in self._known():
            request.cancel()

    def end(self) -> None:
        """End with the association: drop queued requests and cancel the one being performed."""
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
        except Exception:  # noqa: BLE001 - the peer gets an answer when a service fails
            _LOG.exception(
                "A request failed because of an error in this software.",
                association_id=request.association.request.association_id,
                message_id=request.command.message_id,
                command_field=f"{request.command.command_field:04X}",
            )
            await request.respond(Status.PROCESSING_FAILURE, comment="Internal error")
