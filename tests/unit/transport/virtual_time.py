"""An event loop whose clock jumps to the next timer instead of waiting for it."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
_TICK = 1e-9  # a clock that stood still would ring the same timer for ever


class _JumpingSelector(selectors.DefaultSelector):
    """Waits for nothing: what it is told to wait for is the time that passes."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:  # nothing is planned: only a thread can bring news
            return super().select(2)
        self.now += max(0.0, timeout) + _TICK
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time passes only while everybody waits."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def run_in_virtual_time(client_server_pair: Coroutine[Any, Any, T], *, within: float = 3600.0) -> T:
    """Run a play to its end in no time; `within` are its virtual seconds."""

    async def bounded() -> T:
        async with asyncio.timeout(within):
            return await client_server_pair

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(bounded())
