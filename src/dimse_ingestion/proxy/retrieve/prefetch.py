"""The data sets of sub-operations, fetched ahead of the one under way within a budget of memory.

Over a distance each fetch costs a round trip, so the next ones are under way while the receiver
takes the current one; short ones are requested several at a time, which costs less. A data set is
closed when the next one is requested.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice, takewhile
from typing import Protocol

from dimse_ingestion.transport.contract import FetchStream
from dimse_ingestion.transport.protocol.fetch import LEAST_WINDOW, WINDOW, window_of
from dimse_ingestion.transport.protocol.fetch_batch import OBJECTS_PER_BATCH, batch_length
from dimse_ingestion.transport.protocol.messages import RetrieveInstance

AHEAD = 20 * 2**20
"""Bytes that all retrieves of a proxy fetch ahead, beside the current data set of each."""
_MOST_STREAMS = 64
_FEW = 4
"""Retrieves that may each have a whole window of their current data set in memory."""


@dataclass(frozen=True, slots=True)
class Planned:
    """An instance to send, and the transfer syntax in which it is sent."""

    instance: RetrieveInstance
    transfer_syntax_uid: str

    @property
    def is_stored(self) -> bool:
        """Return whether the data set is sent as it is stored."""
        return self.transfer_syntax_uid == self.instance.transfer_syntax_uid

    def memory(self, window: int) -> int:
        """Return the most bytes of the data set that are in memory at once with this window."""
        return window_of(self.instance.size, window) if self.is_stored else window


class StreamOpener(Protocol):
    """Starts to fetch data sets."""

    def open(self, planned: Planned, window: int) -> FetchStream:
        """Open the stream of a data set, with a window in bytes."""

    def open_batch(self, batch: Sequence[Planned]) -> Sequence[FetchStream]:
        """Open the streams of several short data sets, which are sent as they are stored."""


class PrefetchBudget:
    """The memory for data sets that all retrieves of a proxy share.

    Each retrieve has a window of its current data set; what is fetched ahead of it must fit in
    `ahead` bytes.
    """

    def __init__(self, ahead: int = AHEAD) -> None:
        self._free = ahead
        self._operations = 0

    @property
    def window(self) -> int:
        """Return the window of a data set that is opened now."""
        return WINDOW if self._operations <= _FEW else LEAST_WINDOW

    @contextmanager
    def operation(self) -> Iterator[None]:
        """Count a retrieve for the block."""
        self._operations += 1
        try:
            yield
        finally:
            self._operations -= 1

    def take(self, length: int) -> bool:
        """Take bytes for a data set ahead, and return True; False if there are too few."""
        if length > self._free:
            return False
        self._free -= length
        return True

    def release(self, length: int) -> None:
        """Return the bytes of a data set that is no longer ahead."""
        self._free += length


class FetchedDataSet:
    """The data set of one sub-operation; implements `sender.DataSet`.

    `open_stream` opens its stream again.
    """

    def __init__(self, stream: FetchStream, open_stream: Callable[[], FetchStream]) -> None:
        self._stream = stream
        self._open_stream = open_stream
        self._whole: bytes | None = None
        self._is_fresh = True

    async def wait_until_buffered(self) -> None:
        """Wait until the data set can be sent. Raises Failure when it can't be read."""
        await self._stream.wait_until_buffered()
        self._whole = self._stream.take_whole()

    def content(self) -> bytes | AsyncIterator[bytes]:
        """Return the whole data set if it is in memory, else iterate over it; again if asked."""
        return self._chunks() if self._whole is None else self._whole

    async def _chunks(self) -> AsyncIterator[bytes]:
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


@dataclass(frozen=True, slots=True)
class _Waiting:
    planned: Planned
    data_set: FetchedDataSet
    ahead: int
    """Bytes of the shared budget that it has while it is not the current one."""


async def prefetched(
    plan: Iterable[Planned], opener: StreamOpener, shared: PrefetchBudget
) -> AsyncGenerator[tuple[Planned, FetchedDataSet], None]:
    """Yield each planned instance with its data set; closing the generator ends all fetches."""
    ahead = _Ahead(plan, opener, shared)
    loop = asyncio.get_running_loop()
    with shared.operation():
        try:
            while current := ahead.take_next():
                # once the current data set is on its way: the receiver is waiting for that
                filling = loop.call_soon(ahead.fill)
                try:
                    yield current.planned, current.data_set
                finally:
                    filling.cancel()
                    await current.data_set.close()
        finally:
            await ahead.close()


class _Ahead:
    """The data sets of one retrieve that are fetched ahead, and those that follow them."""

    def __init__(
        self, plan: Iterable[Planned], opener: StreamOpener, shared: PrefetchBudget
    ) -> None:
        self._left = deque(plan)
        self._waiting: deque[_Waiting] = deque()
        self._opener = opener
        self._shared = shared

    def take_next(self) -> _Waiting | None:
        """Return the next data set, which is no longer ahead; None at the end."""
        if not self._waiting:
            return self._single(0) if self._left else None
        current = self._waiting.popleft()
        self._shared.release(current.ahead)
        return current

    def fill(self) -> None:
        """Open the streams of the next data sets as far as the budget allows.

        A batch waits until there is memory for the whole of it, unless nothing else is ahead: if it
        took what each sub-operation gives back, its data sets would be requested one by one.
        """
        while self._left:
            batch = self._next_batch()
            if len(self._waiting) + len(batch) > _MOST_STREAMS:
                return
            first = batch[0].memory(self._shared.window)  # with the slack, which a batch has once
            sizes = [first, *(each.instance.size for each in batch[1:])]
            while not self._shared.take(sum(sizes)):
                if self._waiting or len(sizes) == 1:
                    return
                sizes.pop()
            self._open(batch[: len(sizes)], sizes)

    async def close(self) -> None:
        """End the fetches of all data sets that are ahead."""
        for each in self._waiting:
            self._shared.release(each.ahead)
            await each.data_set.close()

    def _next_batch(self) -> list[Planned]:
        """Return the next data sets that may be requested at once, at least one."""
        first = list(islice(self._left, OBJECTS_PER_BATCH))
        stored = list(takewhile(lambda each: each.is_stored, first))
        length = batch_length([each.instance.size for each in stored])
        return first[: max(1, length)]

    def _open(self, batch: list[Planned], sizes: list[int]) -> None:
        if len(batch) == 1:
            self._waiting.append(self._single(sizes[0]))
            return
        for planned, stream, size in zip(batch, self._opener.open_batch(batch), sizes, strict=True):
            self._left.popleft()
            self._waiting.append(_Waiting(planned, self._data_set(planned, stream), size))

    def _single(self, ahead: int) -> _Waiting:
        planned = self._left.popleft()
        stream = self._opener.open(planned, self._shared.window)
        return _Waiting(planned, self._data_set(planned, stream), ahead)

    def _data_set(self, planned: Planned, stream: FetchStream) -> FetchedDataSet:
        return FetchedDataSet(stream, partial(self._opener.open, planned, self._shared.window))
