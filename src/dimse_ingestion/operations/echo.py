"""Health of bucket, event sink and catalogue, for C-ECHO (PS3.4 annex A) and readiness probes.

All three are checked together and the result is cached for a second, so that many echoes put no
load on them. A backend that is busy for a moment stays healthy: while it is checked again, the last
answer of a few seconds ago counts. One that refuses, or is silent for longer, does not.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from dimse_ingestion.failures import Failure

_CACHE_SECONDS = 1.0
_CHECK_TIMEOUT = 2.5
_PATIENCE = 0.5  # seconds that a caller waits for a check while the last answers still count
_MAX_AGE = 5.0  # seconds that a backend's last answer counts while it is silent


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
        self._backends = tuple(map(_Backend, (bucket, event_sink, catalogue)))
        self._health = BackendHealth()
        self._checked_at = float("-inf")
        self._check_task: asyncio.Task[None] | None = None

    async def health(self) -> BackendHealth:
        """Return the health of at most a second ago; concurrent callers share one check.

        While a check takes long, all are healthy if each answered within the last seconds.
        """
        if _now() - self._checked_at >= _CACHE_SECONDS:
            if self._check_task is None or self._check_task.done():
                self._check_task = asyncio.create_task(self._check_all(), name="check all backends")
            # a caller that is cancelled must not cancel the check that others wait for
            check = asyncio.shield(self._check_task)
            await asyncio.wait({check}, timeout=_PATIENCE)
            if not check.done() and self._has_recent_answers():
                return self._health
            await check
        return self._health

    def _has_recent_answers(self) -> bool:
        return not self._health.first_error and all(each.is_recent for each in self._backends)

    async def _check_all(self) -> None:
        errors = await asyncio.gather(*(each.error() for each in self._backends))
        self._health = BackendHealth(*errors)
        self._checked_at = _now()


class _Backend:
    """One backend, and when the last check began that it answered."""

    def __init__(self, check: Callable[[], Awaitable[None]]) -> None:
        self._check = check
        self._answered_at = float("-inf")

    @property
    def is_recent(self) -> bool:
        """Return whether the last answer still counts while no other comes."""
        return _now() - self._answered_at < _MAX_AGE

    async def error(self) -> str:
        """Check the backend; return its error, empty when it is healthy."""
        begin = _now()
        try:
            async with asyncio.timeout(_CHECK_TIMEOUT):
                await self._check()
        except Failure as failure:
            self._answered_at = float("-inf")
            return failure.comment
        except TimeoutError:
            return "" if self.is_recent else f"No answer within {_CHECK_TIMEOUT} s."
        self._answered_at = begin
        return ""


def _now() -> float:
    return asyncio.get_running_loop().time()
