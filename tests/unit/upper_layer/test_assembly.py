from collections.abc import Awaitable
from typing import Any

import pytest

from dimse_ingestion.upper_layer.assembly import Assembly, CompleteMessage, CompleteResponse
from dimse_ingestion.upper_layer.pdata import Fragment
from dimse_ingestion.upper_layer.pdus import AbortReason, ProtocolError
from dimse_ingestion.upper_layer.services import Command, PresentationContext
from tests.recording_services import MemorySink
from tests.requestor_bytes import CT, EXPLICIT, command, store_command

CONTEXTS = {1: PresentationContext(1, CT, EXPLICIT), 3: PresentationContext(3, CT, "1.2.3")}


class Association:
    """Record the data sets that an assembly opens, and the awaitables that it holds reading for."""

    def __init__(self) -> None:
        self.sinks: list[MemorySink] = []
        self.opened: list[tuple[PresentationContext, Command]] = []
        self.held: list[Awaitable[None]] = []
        self.assembly = Assembly(CONTEXTS, self.open_data_set, self.held.append)

    def open_data_set(self, context: PresentationContext, command: Command) -> MemorySink:
        self.opened.append((context, command))
        self.sinks.append(MemorySink())
        return self.sinks[-1]

    def take(
        self, content: bytes, *, context_id: int = 1, is_command: bool = False, last: bool = False
    ) -> CompleteMessage | None:
        whole = self.take_any(content, context_id=context_id, is_command=is_command, last=last)
        assert not isinstance(whole, CompleteResponse)
        return whole

    def take_any(
        self, content: bytes, *, context_id: int = 1, is_command: bool = False, last: bool = False
    ) -> CompleteMessage | CompleteResponse | None:
        return self.assembly.take(Fragment(context_id, is_command, last, memoryview(content)))

    def reason(self, content: bytes, **kinds: Any) -> AbortReason:
        with pytest.raises(ProtocolError) as caught:
            self.take(content, **kinds)
        return caught.value.reason


def test_a_message_is_whole_with_its_last_fragment() -> None:
    association, command = Association(), store_command()
    assert association.take(command[:40], is_command=True) is None
    assert association.assembly.is_in_progress
    assert association.take(command[40:], is_command=True, last=True) is None
    assert association.take(b"data") is None
    whole = association.take(b"set", last=True)
    assert whole is not None
    assert whole.context == CONTEXTS[1]
    assert isinstance(whole.data_set, MemorySink)
    assert whole.data_set.content == b"dataset"
    assert association.opened == [(whole.context, whole.command)]
    assert not association.assembly.is_in_progress


def test_a_response_is_whole_with_its_data_set_which_is_discarded() -> None:
    association = Association()
    response = command(0x8100, MessageIDBeingRespondedTo=3, Status=0, CommandDataSetType=1)
    assert association.take_any(response, is_command=True, last=True) is None
    assert association.take_any(b"event reply") is None
    whole = association.take_any(b"", last=True)
    assert isinstance(whole, CompleteResponse)
    assert whole.context == CONTEXTS[1]
    assert (whole.response.message_id, whole.response.status) == (3, 0)
    assert not association.opened


def test_a_command_without_data_set_is_whole_alone() -> None:
    association = Association()
    whole = association.take(command(0x0030), is_command=True, last=True)
    assert whole is not None
    assert whole.data_set is None
    assert not association.sinks


def test_an_empty_data_set_has_a_sink_too() -> None:
    association = Association()
    association.take(store_command(), is_command=True, last=True)
    whole = association.take(b"", last=True)
    assert whole is not None
    assert association.sinks == [whole.data_set]


def test_what_a_sink_waits_for_is_handed_on() -> None:
    association = Association()
    association.take(store_command(), is_command=True, last=True)
    association.sinks.clear()

    class Slow(MemorySink):
        def write(self, fragment: bytes | memoryview) -> Awaitable[None]:
            return awaited

    async def waiting() -> None:
        """Never run."""

    awaited = waiting()
    association.assembly = Assembly(CONTEXTS, lambda *_: Slow(), association.held.append)
    association.take(store_command(), is_command=True, last=True)
    association.take(b"x")
    assert association.held == [awaited]
    awaited.close()


def test_a_broken_off_data_set_is_abandoned() -> None:
    association = Association()
    association.take(store_command(), is_command=True, last=True)
    association.take(b"data")
    association.assembly.abandon()
    assert association.sinks[0].abandoned
    association.assembly.abandon()


def test_fragments_out_of_order_are_refused() -> None:
    association = Association()
    assert association.reason(b"data") is AbortReason.UNEXPECTED_PDU_PARAMETER
    association = Association()
    association.take(store_command()[:40], is_command=True)
    assert association.reason(b"data") is AbortReason.UNEXPECTED_PDU_PARAMETER
    association = Association()
    association.take(store_command(), is_command=True, last=True)
    again = association.reason(store_command(), is_command=True, last=True)
    assert again is AbortReason.UNEXPECTED_PDU_PARAMETER


def test_messages_of_two_contexts_do_not_mix() -> None:
    association = Association()
    association.take(store_command(), is_command=True, last=True)
    assert association.reason(b"data", context_id=3) is AbortReason.UNEXPECTED_PDU_PARAMETER


def test_a_context_that_was_not_accepted_is_refused() -> None:
    reason = Association().reason(command(0x0030), context_id=5, is_command=True, last=True)
    assert reason is AbortReason.INVALID_PDU_PARAMETER_VALUE


def test_a_command_set_has_a_longest() -> None:
    association = Association()
    association.take(bytes(64 * 1024), is_command=True)
    reason = association.reason(b"x", is_command=True)
    assert reason is AbortReason.INVALID_PDU_PARAMETER_VALUE
