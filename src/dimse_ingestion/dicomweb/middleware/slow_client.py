"""How long a client is waited for: seconds that waiting uses up and the bytes it moves bring back.

So a client is left that is silent, and so is one that drips: whoever moves fewer bytes than the
least rate falls behind, whatever the pattern. Only waiting counts, never the door's own work.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

_Moved = TypeVar("_Moved")


class ProgressTimeout:
    """With one client in one direction: at most `seconds`, `rate` bytes bring one of them back.

    With the rate 0 any byte brings them all back.
    """

    def __init__(self, seconds: float, rate: int) -> None:
        self._most = self._left = seconds
        self._rate = rate
        self._since = 0.0
        self._waiting: asyncio.Timeout | None = None

    @property
    def behind(self) -> float:
        """Seconds of it used up, if the client is waited for right now, else 0."""
        if self._waiting is None or self._waiting.expired():
            return 0.0
        return self._most - self._left + asyncio.get_running_loop().time() - self._since

    async def wait(self, moving: Awaitable[_Moved]) -> _Moved:
        """Wait for the client; raises TimeoutError when patience ends."""
        loop = asyncio.get_running_loop()
        self._since = loop.time()
        try:
            async with asyncio.timeout(self._left) as self._waiting:
                return await moving
        finally:
            self._waiting = None
            self._left = max(0.0, self._left - (loop.time() - self._since))

    def moved(self, count: int) -> None:
        """The client has moved so many bytes."""
        if count:
            brought = count / self._rate if self._rate else self._most
            self._left = min(self._most, self._left + brought)

    def end(self) -> None:
        """Wait no longer, if the client is waited for."""
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(asyncio.get_running_loop().time())
