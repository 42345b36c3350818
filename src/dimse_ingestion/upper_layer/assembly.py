"""Assembly of DIMSE messages from fragments: a command set, then its data set (PS3.8 annex E).

A command set is collected in memory; a data set goes to a sink fragment by fragment. This module
checks order and size only, and uses no clock and no socket.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from dimse_ingestion.upper_layer import command_set
from dimse_ingestion.upper_layer.pdata import Fragment
from dimse_ingestion.upper_layer.pdus import AbortReason, ProtocolError
from dimse_ingestion.upper_layer.services import (
    Command,
    DataSetSink,
    PresentationContext,
    Response,
)

_INVALID = AbortReason.INVALID_PDU_PARAMETER_VALUE
_UNEXPECTED = AbortReason.UNEXPECTED_PDU_PARAMETER


@dataclass(slots=True)
class CompleteMessage:
    """A request whose command set and data set have arrived completely."""

    context: PresentationContext
    command: Command
    data_set: DataSetSink | None


@dataclass(frozen=True, slots=True)
class CompleteResponse:
    """A response that has arrived completely; a data set with it was discarded."""

    context: PresentationContext
    response: Response


class _Discarded:
    """The sink for data sets of responses: nothing that is sent here is answered with one."""

    def write(self, fragment: bytes | memoryview) -> None:
        """Discard a fragment."""

    def abandon(self) -> None:
        """Do nothing."""


class Assembly:
    """Assemble the message that an association is receiving.

    `open_data_set` returns the sink for the data set that follows a command. `hold` is called with
    the awaitable of a sink that can't take more yet: reading pauses until it is done.
    """

    def __init__(
        self,
        contexts: Mapping[int, PresentationContext],
        open_data_set: Callable[[PresentationContext, Command], DataSetSink],
        hold: Callable[[Awaitable[None]], None],
    ) -> None:
        self._contexts = contexts
        self._open_data_set = open_data_set
        self._hold = hold
        self._command_bytes = bytearray()
        self._context: PresentationContext | None = None
        self._command: Command | Response | None = None
        self._sink: DataSetSink | None = None

    @property
    def is_in_progress(self) -> bool:
        """Return whether a message has started and is incomplete."""
        return self._context is not None

    def take(self, fragment: Fragment) -> CompleteMessage | CompleteResponse | None:
        """Add a fragment; return the message if this is its last one. Raises ProtocolError."""
        if self._context is None or self._context.context_id != fragment.context_id:
            self._begin(fragment)
        if fragment.is_command:
            return self._take_command(fragment)
        return self._take_data(fragment)

    def abandon(self) -> None:
        """Discard the incomplete message, because the association has ended."""
        sink = self._sink
        self._finish()
        if sink is not None:
            sink.abandon()

    def _begin(self, fragment: Fragment) -> None:
        if self._context is not None:
            raise ProtocolError(
                _UNEXPECTED,
                f"A fragment of context {fragment.context_id} within a message of context "
                f"{self._context.context_id}.",
            )
        context = self._contexts.get(fragment.context_id)
        if context is None:
            explanation = f"Presentation context {fragment.context_id} was not accepted."
            raise ProtocolError(_INVALID, explanation)
        self._context = context

    def _take_command(self, fragment: Fragment) -> CompleteMessage | CompleteResponse | None:
        if self._command is not None:
            raise ProtocolError(_UNEXPECTED, "A command set where a data set was announced.")
        if len(self._command_bytes) + len(fragment.content) > command_set.LONGEST:
            explanation = f"A command set is longer than {command_set.LONGEST} bytes."
            raise ProtocolError(_INVALID, explanation)
        if fragment.last and not self._command_bytes:  # as a rule it is one fragment
            self._command = command_set.decode(bytes(fragment.content))
        else:
            self._command_bytes += fragment.content
            if not fragment.last:
                return None
            self._command = command_set.decode(bytes(self._command_bytes))
            self._command_bytes.clear()
        return None if self._command.has_data_set else self._finish()

    def _take_data(self, fragment: Fragment) -> CompleteMessage | CompleteResponse | None:
        if self._command is None or self._context is None:
            raise ProtocolError(_UNEXPECTED, "A data set without a whole command set before it.")
        if self._sink is None:
            self._sink = self._open_sink(self._context, self._command)
        if len(fragment.content) and (waiting := self._sink.write(fragment.content)) is not None:
            self._hold(waiting)
        return self._finish() if fragment.last else None

    def _open_sink(self, context: PresentationContext, command: Command | Response) -> DataSetSink:
        if isinstance(command, Response):
            return _Discarded()
        return self._open_data_set(context, command)

    def _finish(self) -> CompleteMessage | CompleteResponse | None:
        context, command, sink = self._context, self._command, self._sink
        self._context = self._command = self._sink = None
        self._command_bytes.clear()
        if context is None or command is None:
            return None
        if isinstance(command, Response):
            return CompleteResponse(context, command)
        return CompleteMessage(context, command, sink)
