"""C-ECHO all the way: whether bucket, event sink and catalogue are well, each in a sentence.

Looked at together and remembered for a second, so that a storm of echoes is no load on them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from dimse_ingestion.dicom.failure import DimseFailure

_REMEMBERED = 1.0
_LONGEST_CHECK = 2.5


@dataclass(frozen=True, slots=True)
class Wellness:
    """What is wrong with each; empty when well."""

    bucket: str = ""
    event_sink: str = ""
    catalogue: str = ""

    @property
    def trouble(self) -> str:
        """The first of them, empty when all is well."""
        return self.bucket or self.event_sink or self.catalogue


class Echoing:
    """Asks what stands behind the ingestion service; each check raises DimseFailure."""

    def __init__(
        self,
        bucket: Callable[[], Awaitable[None]],
        event_sink: Callable[[], Awaitable[None]],
        catalogue: Callable[[], Awaitable[None]],
    ) -> None:
        self._checks = (bucket, event_sink, catalogue)
        self._seen: Wellness = Wellness()
        self._seen_at = float("-inf")
        self._looking = asyncio.Lock()

    async def wellness(self) -> Wellness:
        """How things are now, or were within the last second."""
        async with self._looking:
            now = asyncio.get_running_loop().time()
            if now - self._seen_at >= _REMEMBERED:
                self._seen = Wellness(*await asyncio.gather(*map(_told, self._checks)))
                self._seen_at = now
            return self._seen


async def _told(check: Callable[[], Awaitable[None]]) -> str:
    try:
        async with asyncio.timeout(_LONGEST_CHECK):
            await check()
    except DimseFailure as failure:
        return failure.comment
    except TimeoutError:
        return f"No answer within {_LONGEST_CHECK} s."
    return ""
