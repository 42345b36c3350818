"""An event loop whose clock jumps to the next timer instead of waiting for it."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")
_TICK = 1e-9  # without it, a timer could fire for ever at the same time


class _JumpingSelector(selectors.DefaultSelector):
    """Advances the clock by the timeout instead of waiting for it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.threads = 0  # calls under way, during which the clock stands still

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None or (timeout > 0 and self.threads):  # the end of a thread wakes the loop
            return super().select(2)
        self.now += max(0.0, timeout) + _TICK
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only while every task waits."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def run_in_executor(
        self,
        executor: Executor | None,
        func: Callable[[Unpack[Arguments]], T],
        *args: *Arguments,
    ) -> asyncio.Future[T]:
        """Stop the clock until the call has ended: its duration is real, not virtual."""
        future = super().run_in_executor(executor, func, *args)
        self._jumping.threads += 1
        future.add_done_callback(self._resume_clock)
        return future

    def _resume_clock(self, _: "asyncio.Future[Any]") -> None:
        self._jumping.threads -= 1


def run_in_virtual_time(client_server_pair: Coroutine[Any, Any, T], *, within: float = 3600.0) -> T:
    """Run a coroutine to its end without waiting; `within` is a limit in virtual seconds."""

    async def bounded() -> T:
        async with asyncio.timeout(within):
            return await client_server_pair

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(bounded())
