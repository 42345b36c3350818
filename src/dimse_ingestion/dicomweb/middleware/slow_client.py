"""A timeout for slow clients: waiting uses up a budget of seconds, transferred bytes restore it.

It ends requests of idle clients and of clients that transfer single bytes: below the minimum rate
the budget runs out, whatever the pattern of the transfers. Only waiting for the client counts, not
the time that the service itself needs.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

_Result = TypeVar("_Result")


class ProgressTimeout:
    """For one client in one direction: a budget of `seconds`; `rate` bytes restore one second.

    With the rate 0 any byte restores the whole budget.
    """

    def __init__(self, seconds: float, rate: int) -> None:
        self._maximum = self._remaining = seconds
        self._rate = rate
        self._since = 0.0
        self._timeout: asyncio.Timeout | None = None

    @property
    def delay(self) -> float:
        """Return the used seconds of the budget while the client is waited for, else 0."""
        if self._timeout is None or self._timeout.expired():
            return 0.0
        return self._maximum - self._remaining + asyncio.get_running_loop().time() - self._since

    async def wait(self, transfer: Awaitable[_Result]) -> _Result:
        """Wait for a transfer; raises TimeoutError when the budget is used up."""
        loop = asyncio.get_running_loop()
        self._since = loop.time()
        try:
            async with asyncio.timeout(self._remaining) as self._timeout:
                return await transfer
        finally:
            self._timeout = None
            self._remaining = max(0.0, self._remaining - (loop.time() - self._since))

    def add_bytes(self, count: int) -> None:
        """Restore the budget for `count` transferred bytes."""
        if count:
            gained = count / self._rate if self._rate else self._maximum
            self._remaining = min(self._maximum, self._remaining + gained)

    def end(self) -> None:
        """End the current wait by TimeoutError, if there is one."""
        if self._timeout is not None and not self._timeout.expired():
            self._timeout.reschedule(asyncio.get_running_loop().time())
