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
        self._seen = Wellness()
        self._seen_at = float("-inf")
        self._looking: asyncio.Task[None] | None = None

    async def wellness(self) -> Wellness:
        """How things are now, or were within the last second; whoever asks meanwhile waits too."""
        if self._now() - self._seen_at >= _REMEMBERED:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look(), name="look at all wires")
            await asyncio.shield(self._looking)  # one who asked may leave, the others still wait
        return self._seen

    async def _look(self) -> None:
        self._seen = Wellness(*await asyncio.gather(*map(_told, self._checks)))
        self._seen_at = self._now()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


async def _told(check: Callable[[], Awaitable[None]]) -> str:
    try:
        async with asyncio.timeout(_LONGEST_CHECK):
            await check()
    except DimseFailure as failure:
        return failure.comment
    except TimeoutError:
        return f"No answer within {_LONGEST_CHECK} s."
    return ""
