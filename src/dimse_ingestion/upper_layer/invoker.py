"""The requests that this side sends on an association, until their response (PS3.7 section 6).

Responses are routed by Message ID Being Responded To. Both roles use it: the requestor of an
association, and an acceptor whose C-GET sends C-STORE back. It knows no states and no socket.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

from dimse_ingestion.failures import Failure
from dimse_ingestion.upper_layer import pdata
from dimse_ingestion.upper_layer.association_errors import AssociationLost
from dimse_ingestion.upper_layer.command_set import encode_request
from dimse_ingestion.upper_layer.pdus import AbortReason, ProtocolError
from dimse_ingestion.upper_layer.services import (
    Command,
    DataSetSource,
    PresentationContext,
    Response,
)

_MOST_MESSAGE_IDS = 0xFFFF
_UNEXPECTED = AbortReason.UNEXPECTED_PDU_PARAMETER


class Channel(Protocol):
    """The association as its requests use it."""

    @property
    def peer_name(self) -> str:
        """What sentences call the other end."""

    @property
    def peer_maximum_pdu_length(self) -> int:
        """Bytes of the longest P-DATA-TF the peer takes; 0 = unlimited."""

    def send_p_data(self, content: pdata.Encoded) -> None:
        """Send P-DATA-TF PDUs. Raises AssociationLost when the association has ended."""

    async def drain(self) -> None:
        """Wait until the write buffer has space, or the connection is lost."""

    def abort(self, explanation: str) -> None:
        """Send A-ABORT as service user and close; `explanation` is for the log."""


@dataclass(slots=True)
class _Waiting:
    """A request without a response yet."""

    context_id: int
    command_field: int
    response: asyncio.Future[Response]
    is_begun: bool = False
    """Whether a part of it was sent, so that giving it up needs an abort."""


class Invoker:
    """Send requests and wait for their responses, as many at once as negotiated."""

    def __init__(self, channel: Channel, response_timeout: float) -> None:
        self._channel = channel
        self._response_timeout = response_timeout
        self._free = asyncio.Semaphore(1)
        self._sending = asyncio.Lock()  # fragments of two messages must not mix
        self._waiting: dict[int, _Waiting] = {}
        self._last_id = 0
        self._ended: AssociationLost | None = None

    @property
    def outstanding(self) -> int:
        """The number of requests without a response yet."""
        return len(self._waiting)

    def allow(self, outstanding: int) -> None:
        """Allow this number of requests at once; before the first request, 1 is allowed."""
        self._free = asyncio.Semaphore(outstanding)

    async def invoke(
        self, context: PresentationContext, command: Command, data_set: DataSetSource | None = None
    ) -> Response:
        """Send a request, with a message id of its own, and return its response.

        Raises AssociationLost when the association ends before the response; it ends when the
        response is late, when the caller is cancelled, and when `data_set` raises.
        """
        async with self._free:
            if self._ended is not None:
                raise self._ended
            message_id = self._next_id()
            numbered = replace(command, message_id=message_id, has_data_set=data_set is not None)
            response = asyncio.get_running_loop().create_future()
            waiting = _Waiting(context.context_id, command.command_field, response)
            self._waiting[message_id] = waiting
            explanation = "A request was given up before its response."
            try:
                async with self._sending:
                    await self._send(waiting, numbered, data_set)
                return await self._receive(waiting, message_id)
            except Failure as failure:
                explanation = f"A data set can't be sent to its end: {failure.comment}"
                raise
            finally:
                del self._waiting[message_id]
                if response.done():
                    response.exception()  # it is raised above, or another error is
                elif waiting.is_begun:
                    self._channel.abort(explanation)

    def take(self, context: PresentationContext, response: Response) -> None:
        """Pass a response to the request that waits for it. Raises ProtocolError if none does."""
        waiting = self._waiting.get(response.message_id)
        if waiting is None or waiting.response.done():
            raise ProtocolError(
                _UNEXPECTED, f"A response to message {response.message_id}, which waits for none."
            )
        if (waiting.command_field, waiting.context_id) != (
            response.command_field,
            context.context_id,
        ):
            raise ProtocolError(
                _UNEXPECTED,
                f"A response of kind {response.command_field:04X}H in context "
                f"{context.context_id} to message {response.message_id}, which is of kind "
                f"{waiting.command_field:04X}H in context {waiting.context_id}.",
            )
        waiting.response.set_result(response)

    def end(self, reason: str) -> None:
        """Fail all requests, now and later, because the association has ended."""
        self._ended = AssociationLost(reason)
        for waiting in self._waiting.values():
            if not waiting.response.done():
                waiting.response.set_exception(self._ended)

    async def _send(
        self, waiting: _Waiting, command: Command, data_set: DataSetSource | None
    ) -> None:
        waiting.is_begun = True
        length = self._channel.peer_maximum_pdu_length
        whole = data_set if isinstance(data_set, bytes) else None
        self._channel.send_p_data(
            pdata.encode(waiting.context_id, encode_request(command), whole, length)
        )
        await self._channel.drain()
        if data_set is not None and not isinstance(data_set, bytes):
            await self._send_chunks(data_set, waiting)

    async def _send_chunks(self, chunks: AsyncIterator[bytes], waiting: _Waiting) -> None:
        """Send a data set until its end; stop when the association ends while a chunk is late."""
        encoder = pdata.DataSetEncoder(waiting.context_id, self._channel.peer_maximum_pdu_length)
        sending = asyncio.ensure_future(self._pump(chunks, encoder))
        try:
            ends: list[asyncio.Future[Any]] = [sending, waiting.response]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if self._ended is None or sending.done():  # an early response ends no data set
                await sending
        finally:
            if not sending.done():
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)

    async def _pump(self, chunks: AsyncIterator[bytes], encoder: pdata.DataSetEncoder) -> None:
        async for chunk in chunks:
            if pdus := encoder.feed(chunk):
                self._channel.send_p_data(pdus)
                await self._channel.drain()
        self._channel.send_p_data(encoder.finish())
        await self._channel.drain()

    async def _receive(self, waiting: _Waiting, message_id: int) -> Response:
        response = waiting.response
        if not response.done():
            await asyncio.wait({response}, timeout=self._response_timeout)
        if not response.done():
            explanation = (
                f"{self._channel.peer_name} did not answer message {message_id} (kind "
                f"{waiting.command_field:04X}H) within {self._response_timeout:g} s."
            )
            self._channel.abort(explanation)  # this ends all requests
        return response.result()

    def _next_id(self) -> int:
        while True:
            self._last_id = self._last_id % _MOST_MESSAGE_IDS + 1
            if self._last_id not in self._waiting:
                return self._last_id
