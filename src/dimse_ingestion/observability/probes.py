"""Whether a door lives and is ready, and if not, why: what an orchestrator and a person ask.

`Health` collects named checks, each a sentence or nothing, and logs a line whenever what they say
changes. A check must be quick, and one that hangs counts as trouble.
"""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from dimse_ingestion.observability.logging import logger

_LOG = logger(__name__)
Check = Callable[[], str | Awaitable[str]]
"""Empty when well, else a sentence that says what is wrong and what to do."""

_LONGEST_CHECK = 3.0
_LONGEST_UNASKED = 10.0


class Health:
    """The state of one door, which the log calls `door`: its checks, and whether it is draining."""

    def __init__(self, door: str = "door") -> None:
        self._door = door
        self._checks: dict[str, Check] = {}
        self._draining = False
        self._told: Mapping[str, str] | None = None
        self._asked_at = float("-inf")

    def add(self, name: str, check: Check) -> None:
        """Have `check` decide, among the others, whether the door is ready."""
        self._checks[name] = check

    def drain(self) -> None:
        """From now on not ready: the door finishes what it has and takes nothing new."""
        self._draining = True

    async def troubles(self) -> Mapping[str, str]:
        """What keeps the door from being ready, by name; empty when it is."""
        self._asked_at = time.monotonic()
        answers = await asyncio.gather(*(_asked(check) for check in self._checks.values()))
        found = {name: why for name, why in zip(self._checks, answers, strict=True) if why}
        if self._draining:
            return {"draining": "The door is shutting down."} | found
        self._tell(found)
        return found

    async def watch(self) -> None:
        """Look every 10 seconds, unless somebody else does, until cancelled: for the log."""
        while True:
            if time.monotonic() - self._asked_at >= _LONGEST_UNASKED:
                await self.troubles()
            await asyncio.sleep(self._asked_at + _LONGEST_UNASKED - time.monotonic())

    def _tell(self, troubles: Mapping[str, str]) -> None:
        if troubles == self._told:
            return
        self._told = troubles
        if troubles:
            _LOG.warning(f"The {self._door} is not ready.", because=troubles)
        else:
            _LOG.info(f"The {self._door} is ready.")


@asynccontextmanager
async def watched(health: Health) -> AsyncIterator[None]:
    """Have changes of a door's readiness logged within the block, whether it is probed or not."""
    watching = asyncio.create_task(health.watch(), name="watch of readiness")
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _asked(check: Check) -> str:
    try:
        answer = check()
        if inspect.isawaitable(answer):
            return await asyncio.wait_for(answer, _LONGEST_CHECK)
    except TimeoutError:
        return f"The check gave no answer within {_LONGEST_CHECK:.0f} s."
    except Exception as error:  # noqa: BLE001 - whatever it is, the door isn't ready
        return str(error) or type(error).__name__
    return answer


def routes(health: Health) -> list[Route]:
    """/livez (answered by whoever can answer at all), /readyz and /metrics of a door."""

    async def livez(_: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def readyz(_: Request) -> Response:
        return _readiness(await health.troubles())

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return [Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)]


def _readiness(troubles: Mapping[str, str]) -> Response:
    if not troubles:
        return PlainTextResponse("ready\n")
    lines = ["not ready", *(f"{name}: {why}" for name, why in troubles.items())]
    return PlainTextResponse("\n".join(lines) + "\n", status_code=503)
