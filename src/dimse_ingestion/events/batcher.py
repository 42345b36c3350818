"""Gather the events that arrive while a post is under way into the next post.

An event that arrives while no post is under way is posted at once, and under load batches grow by
themselves. Each caller gets the result of its own event; a caller that is cancelled takes only its
own event back. A post that takes long, for example to a replica that hangs, holds up no other. How
a batch is posted is in `http_sink`.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from dimse_ingestion.failures import Unavailable

MOST_EVENTS = 100
MOST_BYTES = 2**20
_LONG_POST = 1.0  # seconds after which the next post does not wait for this one


@dataclass(frozen=True, slots=True)
class EncodedEvent:
    """An event as it is sent, with the headers that it has when it is sent alone."""

    body: bytes
    headers: Mapping[str, str]


Result = int | BaseException
"""The HTTP status of one event, or the exception that prevented an answer."""
Post = Callable[[Sequence[EncodedEvent]], Awaitable[Sequence[Result]]]


@dataclass(frozen=True, slots=True)
class _Waiting:
    event: EncodedEvent
    status: "asyncio.Future[int]"


class Batcher:
    """Posts events in batches by `post`, which returns a result for each event.

    The next post starts when the last one has ended, or has taken `long_post` seconds.
    """

    def __init__(self, post: Post, long_post: float = _LONG_POST) -> None:
        self._post = post
        self._long_post = long_post
        self._waiting: deque[_Waiting] = deque()
        self._posts: set[asyncio.Task[None]] = set()
        self._latest: asyncio.Task[None] | None = None

    async def submit(self, event: EncodedEvent) -> int:
        """Return the HTTP status of the answer to an event; raises what prevented an answer."""
        status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(event, status))
        self._start_post()
        return await status

    async def close(self) -> None:
        """Cancel the posts under way; all events that have no answer yet fail."""
        waiting, self._waiting = self._waiting, deque()
        for task in self._posts:
            task.cancel()
        await asyncio.gather(*self._posts, return_exceptions=True)
        _fail(waiting, _closed())

    def _start_post(self) -> None:
        """Post the events that wait, unless they have to wait for the latest post."""
        if self._latest is not None or not self._waiting:
            return
        task = self._latest = asyncio.create_task(self._post_next(), name="post events")
        self._posts.add(task)
        timer = asyncio.get_running_loop().call_later(self._long_post, self._go_on, task)
        task.add_done_callback(lambda _: timer.cancel())
        task.add_done_callback(self._posts.discard)
        task.add_done_callback(self._go_on)

    def _go_on(self, task: "asyncio.Task[None]") -> None:
        """Start the next post, if it was this one that it waited for."""
        if task is self._latest:
            self._latest = None
            self._start_post()

    async def _post_next(self) -> None:
        """Post the events that wait now: those that arrived before this task started, too."""
        batch = self._next_batch()
        if not batch:
            return
        try:
            results = await self._post([each.event for each in batch])
        except asyncio.CancelledError:
            _fail(batch, _closed())
            raise
        except Exception as error:  # noqa: BLE001 - each caller gets it as its own
            _fail(batch, error)
            return
        for each, result in zip(batch, results, strict=True):
            _set_result(each.status, result)

    def _next_batch(self) -> list[_Waiting]:
        """Return the next events, without those whose caller was cancelled meanwhile."""
        batch: list[_Waiting] = []
        size = 0
        while self._waiting and len(batch) < MOST_EVENTS:
            length = len(self._waiting[0].event.body) + 1
            if batch and size + length > MOST_BYTES:
                break
            each = self._waiting.popleft()
            if not each.status.done():
                batch.append(each)
                size += length
        return batch


def _set_result(status: "asyncio.Future[int]", result: Result) -> None:
    if status.done():
        return
    if isinstance(result, BaseException):
        status.set_exception(result)
    else:
        status.set_result(result)


def _fail(batch: Iterable[_Waiting], error: Exception) -> None:
    for each in batch:
        _set_result(each.status, error)


def _closed() -> Unavailable:
    return Unavailable("The connections to the event sink are closed.")
