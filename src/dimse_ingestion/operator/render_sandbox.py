"""Renders in processes of their own (`confined`), so that no spec holds up the operator.

What brings templates of its own waits for its like alone: one that goes on for ever takes others of
that sort some seconds, and the rest nothing.
"""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dimse_ingestion.operator.render_worker import MEBIBYTES, SECONDS
from dimse_ingestion.operator.resources import Manifest, Resource
from dimse_ingestion.operator.values import SpecMistake, Values
from dimse_ingestion.settings import ConfigurationMistake

_LARGEST = 8 * 1024 * 1024
_LONGEST_START = 30.0
_TEMPLATES = "extraObjects"
_BECAUSE = {
    -signal.SIGALRM: f"are not rendered within {SECONDS:.0f} s",
    -signal.SIGABRT: f"take more than {MEBIBYTES} MiB to render",
}
"""Why a process ended, by its exit status: the kernel's bounds of a rendering."""


class RenderingBroke(Exception):
    """A process gave no answer, by what is no fault of the spec: to be tried again."""


class ConfinedRenderer:
    """The one chart, rendered elsewhere."""

    def __init__(self, folder: Path) -> None:
        self._plain = _Process(folder)
        self._templates = _Process(folder)

    async def objects(self, resource: Resource, values: Values) -> list[Manifest]:
        """What `Renderer.objects` gives. Raises SpecMistake, RenderingBroke."""
        process = self._templates if values.get(_TEMPLATES) else self._plain
        return await process.objects(resource, values)

    async def start(self) -> None:
        """Have the chart loaded. Raises ConfigurationMistake when it isn't one."""
        await self._plain.start()

    async def close(self) -> None:
        """End the processes."""
        await self._plain.end()
        await self._templates.end()


@asynccontextmanager
async def confined(folder: Path) -> AsyncIterator[ConfinedRenderer]:
    """A renderer that is ready, and ended after the block. Raises ConfigurationMistake."""
    renderer = ConfinedRenderer(folder)
    try:
        await renderer.start()
        yield renderer
    finally:
        await renderer.close()


@dataclass(frozen=True)
class _Running:
    """A process that runs, and its two pipes."""

    process: asyncio.subprocess.Process
    questions: asyncio.StreamWriter
    answers: asyncio.StreamReader

    @classmethod
    async def started(cls, folder: Path) -> "_Running":
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "dimse_ingestion.operator.render_worker", str(folder)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LARGEST,
            start_new_session=True,  # what ends the operator lets it end its processes
        )
        if process.stdin is None or process.stdout is None:
            raise RenderingBroke("It has no pipes.")
        return cls(process, process.stdin, process.stdout)

    async def line(self, longest: float) -> dict[str, Any]:
        """What it says next. Raises SpecMistake, RenderingBroke."""
        try:
            async with asyncio.timeout(longest):
                line = await self.answers.readline()
                if not line:
                    raise _ended(await self.process.wait())
        except TimeoutError:
            raise RenderingBroke(f"No answer within {longest:.0f} s.") from None
        except ValueError:
            raise SpecMistake(f"{_TEMPLATES} are more than {_LARGEST // 1024**2} MiB.") from None
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def ask(self, question: bytes) -> dict[str, Any]:
        """Its answer. Raises SpecMistake, RenderingBroke."""
        try:
            self.questions.write(question)
            await self.questions.drain()
        except ConnectionError:
            raise RenderingBroke("It has ended before it was asked.") from None
        return await self.line(SECONDS * 2)

    async def end(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        self.questions.close()
        await self.process.communicate()


class _Process:
    """One process, started when it is needed and begun anew where it has ended."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: _Running | None = None
        self._one_at_a_time = asyncio.Lock()

    async def objects(self, resource: Resource, values: Values) -> list[Manifest]:
        async with self._one_at_a_time:
            try:
                running = await self.start()
                answer = await running.ask(_question(resource, values))
            except BaseException:
                await self.end()  # what it may still say is nobody's answer
                raise
        if "mistakes" in answer:
            raise SpecMistake(*answer["mistakes"])
        if "broken" in answer:
            raise RenderingBroke(answer["broken"])
        objects: list[Manifest] = json.loads(answer["objects"])
        return objects

    async def start(self) -> _Running:
        """The process. Raises ConfigurationMistake where it can't load the chart."""
        if self._running is not None and self._running.process.returncode is None:
            return self._running
        self._running = await _Running.started(self._folder)
        begun = await self._running.line(_LONGEST_START)
        if "trouble" in begun:
            raise ConfigurationMistake([f"The chart can't be loaded: {begun['trouble']}."])
        return self._running

    async def end(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            await running.end()


def _question(resource: Resource, values: Values) -> bytes:
    """What is needed of a resource: whose the objects are."""
    known = ("name", "namespace", "uid")
    body = {
        "apiVersion": resource.body["apiVersion"],
        "kind": resource.body["kind"],
        "metadata": {each: resource.metadata[each] for each in known},
    }
    return json.dumps({"resource": body, "values": values}).encode() + b"\n"


def _ended(status: int) -> Exception:
    if because := _BECAUSE.get(status):
        return SpecMistake(f"{_TEMPLATES} {because}: shorten what they repeat.")
    return RenderingBroke(f"It has ended with status {status}.")
