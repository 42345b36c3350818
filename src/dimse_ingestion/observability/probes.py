"""Whether a door lives and is ready, and if not, why: what an orchestrator and a person ask.

`Health` collects named checks, each a sentence or nothing. It does no work of its own: a check
must be quick, and one that hangs counts as trouble.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

Check = Callable[[], str | Awaitable[str]]
"""Empty when well, else a sentence that says what is wrong and what to do."""

_LONGEST_CHECK = 3.0


class Health:
    """The state of one door: its checks, and whether it is draining."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self._draining = False
        self._dead = ""

    def add(self, name: str, check: Check) -> None:
        """Have `check` decide, among the others, whether the door is ready."""
        self._checks[name] = check

    def drain(self) -> None:
        """From now on not ready: the door finishes what it has and takes nothing new."""
        self._draining = True

    def dead(self, because: str) -> None:
        """Only a new start helps: fail the liveness probe."""
        self._dead = because

    @property
    def death(self) -> str:
        """Why only a new start helps; empty while the door lives."""
        return self._dead

    async def troubles(self) -> Mapping[str, str]:
        """What keeps the door from being ready, by name; empty when it is."""
        answers = await asyncio.gather(*(_asked(check) for check in self._checks.values()))
        found = {name: why for name, why in zip(self._checks, answers, strict=True) if why}
        return {"draining": "The door is shutting down."} | found if self._draining else found


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
    """/livez, /readyz and /metrics of a door."""

    async def livez(_: Request) -> Response:
        return _answer({"dead": health.death} if health.death else {}, "alive")

    async def readyz(_: Request) -> Response:
        return _answer(await health.troubles(), "ready")

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return [Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)]


def _answer(troubles: Mapping[str, str], well: str) -> Response:
    if not troubles:
        return PlainTextResponse(f"{well}\n")
    lines = [f"not {well}", *(f"{name}: {why}" for name, why in troubles.items())]
    return PlainTextResponse("\n".join(lines) + "\n", status_code=503)
