"""Health of bucket, event sink and catalogue, for C-ECHO (PS3.4 annex A) and readiness probes.

All three are checked together and the result is cached for a second, so that many echoes put no
load on them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from dimse_ingestion.failures import Failure

_CACHE_SECONDS = 1.0
_CHECK_TIMEOUT = 2.5


@dataclass(frozen=True, slots=True)
class BackendHealth:
    """The error of each backend, as a sentence; empty when it is healthy."""

    bucket: str = ""
    event_sink: str = ""
    catalogue: str = ""

    @property
    def first_error(self) -> str:
        """Return the first error, empty when all are healthy."""
        return self.bucket or self.event_sink or self.catalogue


class BackendHealthCheck:
    """Checks the three backends; each check given raises Failure when it fails."""

    def __init__(
        self,
        bucket: Callable[[], Awaitable[None]],
        event_sink: Callable[[], Awaitable[None]],
        catalogue: Callable[[], Awaitable[None]],
    ) -> None:
        self._checks = (bucket, event_sink, catalogue)
        self._health = BackendHealth()
        self._checked_at = float("-inf")
        self._check_task: asyncio.Task[None] | None = None

    async def health(self) -> BackendHealth:
        """Return the health of at most a second ago; concurrent callers share one check."""
        if self._now() - self._checked_at >= _CACHE_SECONDS:
            if self._check_task is None or self._check_task.done():
                self._check_task = asyncio.create_task(self._check_all(), name="check all backends")
            # a caller that is cancelled must not cancel the check that others wait for
            await asyncio.shield(self._check_task)
        return self._health

    async def _check_all(self) -> None:
        self._health = BackendHealth(*await asyncio.gather(*map(_error_of, self._checks)))
        self._checked_at = self._now()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


async def _error_of(check: Callable[[], Awaitable[None]]) -> str:
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT):
            await check()
    except Failure as failure:
        return failure.comment
    except TimeoutError:
        return f"No answer within {_CHECK_TIMEOUT} s."
    return ""
