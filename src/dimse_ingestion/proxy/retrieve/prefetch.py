"""The data sets of sub-operations, fetched ahead of the one under way within a budget of memory.

Over a distance each fetch costs a round trip, so the next ones are under way while the receiver
takes the current one. A data set is closed when the next one is requested.
"""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from dataclasses import dataclass

from dimse_ingestion.transport.contract import FetchStream
from dimse_ingestion.transport.protocol.fetch import WINDOW
from dimse_ingestion.transport.protocol.messages import RetrieveInstance

BUDGET = 2 * WINDOW
"""Bytes that the data sets of one retrieve may have in memory."""
_MOST_STREAMS = 16


@dataclass(frozen=True, slots=True)
class Planned:
    """An instance to send, and the transfer syntax in which it is sent."""

    instance: RetrieveInstance
    transfer_syntax_uid: str

    @property
    def is_stored(self) -> bool:
        """Return whether the data set is sent as it is stored."""
        return self.transfer_syntax_uid == self.instance.transfer_syntax_uid

    @property
    def memory(self) -> int:
        """Return the most bytes of the data set that are in memory at once."""
        return min(self.instance.size, WINDOW) if self.is_stored else WINDOW


class FetchedDataSet:
    """The data set of one sub-operation; implements `sender.DataSet`."""

    def __init__(self, open_stream: Callable[[], FetchStream]) -> None:
        self._open_stream = open_stream
        self._stream = open_stream()
        self._is_fresh = True

    async def wait_until_buffered(self) -> None:
        """Wait until the data set can be sent. Raises Failure when it can't be read."""
        await self._stream.wait_until_buffered()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the data set; a second call fetches it again."""
        if not self._is_fresh:
            await self._stream.close()
            self._stream = self._open_stream()
        self._is_fresh = False
        async for chunk in self._stream:
            yield chunk

    async def close(self) -> None:
        """End the fetch."""
        await self._stream.close()


async def prefetched(
    plan: Iterable[Planned], open_stream: Callable[[Planned], FetchStream]
) -> AsyncGenerator[tuple[Planned, FetchedDataSet], None]:
    """Yield each planned instance with its data set; closing the generator ends all fetches."""
    waiting: deque[tuple[Planned, FetchedDataSet]] = deque()
    left = deque(plan)
    memory = 0
    try:
        while left or waiting:
            while left and (
                not waiting or (len(waiting) < _MOST_STREAMS and memory + left[0].memory <= BUDGET)
            ):
                planned = left.popleft()
                memory += planned.memory
                waiting.append((planned, FetchedDataSet(_opener(open_stream, planned))))
            yield waiting[0]
            planned, data_set = waiting.popleft()
            await data_set.close()
            memory -= planned.memory
    finally:
        for _, data_set in waiting:
            await data_set.close()


def _opener(
    open_stream: Callable[[Planned], FetchStream], planned: Planned
) -> Callable[[], FetchStream]:
    return lambda: open_stream(planned)
