"""Liveness, readiness and metrics endpoints of a service, for Kubernetes and for people.

`Health` runs named checks, each of which returns a sentence or nothing, and logs a line whenever
the sentences change. A check must be quick; one that hangs counts as failed.
"""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from dimse_ingestion.background_tasks import background_tasks
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.observability.metrics import event_loop_tasks

_LOG = logger(__name__)
Check = Callable[[], str | Awaitable[str]]
"""Returns an empty string, or a sentence that says what is wrong and what to do."""

CheckGroup = Callable[[], Awaitable[Mapping[str, str]]]
"""Returns the sentences of several checks that fail, by name."""

_CHECK_TIMEOUT = 3.0
_CHECK_INTERVAL = 10.0


class Health:
    """The health of one service, which log lines call `name`: its checks, and its drain state."""

    def __init__(self, name: str = "service") -> None:
        self._name = name
        self._checks: dict[str, Check] = {}
        self._groups: list[CheckGroup] = []
        self._notes: dict[str, Check] = {}
        self._note_groups: list[CheckGroup] = []
        self._draining = False
        self._last_logged: Mapping[str, str] | None = None
        self._checked_at = float("-inf")

    def add(self, name: str, check: Check) -> None:
        """Add a check; the service is ready when all checks pass."""
        self._checks[name] = check

    def add_group(self, group: CheckGroup) -> None:
        """Add checks whose names are known when they have run."""
        self._groups.append(group)

    def add_note(self, name: str, check: Check) -> None:
        """Add a check whose sentence is shown at /readyz and does not make the service unready."""
        self._notes[name] = check

    def add_note_group(self, group: CheckGroup) -> None:
        """Add notes whose names are known when they have been asked for."""
        self._note_groups.append(group)

    def remove_note(self, name: str) -> None:
        """Remove a check that `add_note` has added."""
        self._notes.pop(name, None)

    def drain(self) -> None:
        """Make the service not ready: it finishes its work and accepts nothing new."""
        self._draining = True

    async def problems(self) -> Mapping[str, str]:
        """Run the checks and return the sentences of those that fail, by name."""
        self._checked_at = time.monotonic()
        problems = await _failing(self._checks)
        for group in self._groups:
            problems |= await group()
        if self._draining:
            return {"draining": "The service is shutting down."} | problems
        self._log_change(problems)
        return problems

    async def notes(self) -> Mapping[str, str]:
        """Return the sentences that say what is going on, by name."""
        notes = await _failing(self._notes)
        for group in self._note_groups:
            notes |= await group()
        return notes

    async def watch(self) -> None:
        """Run the checks every 10 seconds, unless /readyz does, so that changes are logged."""
        while True:
            if time.monotonic() - self._checked_at >= _CHECK_INTERVAL:
                await self.problems()
            await asyncio.sleep(self._checked_at + _CHECK_INTERVAL - time.monotonic())

    def _log_change(self, problems: Mapping[str, str]) -> None:
        if problems == self._last_logged:
            return
        self._last_logged = problems
        if problems:
            _LOG.warning(f"The {self._name} is not ready.", reason=problems)
        else:
            _LOG.info(f"The {self._name} is ready.")


@asynccontextmanager
async def watch_readiness(health: Health) -> AsyncIterator[None]:
    """Log changes of a service's readiness within the block, whether it is probed or not."""
    async with background_tasks(health.watch(), name="watch of readiness"):
        yield


async def _failing(checks: Mapping[str, Check]) -> dict[str, str]:
    results = await asyncio.gather(*(_run(check) for check in checks.values()))
    return {name: text for name, text in zip(checks, results, strict=True) if text}


async def _run(check: Check) -> str:
    try:
        result = check()
        if inspect.isawaitable(result):
            return await asyncio.wait_for(result, _CHECK_TIMEOUT)
    except TimeoutError:
        return f"The check gave no answer within {_CHECK_TIMEOUT:.0f} s."
    except Exception as error:  # noqa: BLE001 - whatever it is, the service isn't ready
        return str(error) or type(error).__name__
    return result


async def _alive() -> str:
    return ""


def routes(
    health: Health,
    *,
    metrics: Callable[[], bytes] = generate_latest,
    liveness: Callable[[], Awaitable[str]] = _alive,
) -> list[Route]:
    """Return the routes /livez (200 as long as the event loop runs), /readyz and /metrics.

    `liveness` returns a sentence when the service can only be helped by a restart.
    """

    async def livez(_: Request) -> Response:
        if problem := await liveness():
            return PlainTextResponse(f"{problem}\n", HTTPStatus.SERVICE_UNAVAILABLE)
        return PlainTextResponse("alive\n")

    async def readyz(_: Request) -> Response:
        return _readiness(*await asyncio.gather(health.problems(), health.notes()))

    async def metrics_text(_: Request) -> Response:
        event_loop_tasks.set(len(asyncio.all_tasks()))
        return Response(metrics(), media_type=CONTENT_TYPE_LATEST)

    return [Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics_text)]


def _readiness(problems: Mapping[str, str], notes: Mapping[str, str]) -> Response:
    lines = [f"{name}: {text}" for name, text in (*problems.items(), *notes.items())]
    if not problems:
        return PlainTextResponse("\n".join(["ready", *lines]) + "\n")
    body = "\n".join(["not ready", *lines]) + "\n"
    return PlainTextResponse(body, HTTPStatus.SERVICE_UNAVAILABLE)
