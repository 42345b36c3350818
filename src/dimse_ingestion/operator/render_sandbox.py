"""Rendering in child processes with limits (`render_worker`), so that no spec blocks the operator.

Specs with templates of their own (extraObjects) have a process of their own: one that never ends
delays others of that sort by some seconds, and the rest not at all.
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
_BOUND_EXCEEDED = {
    -signal.SIGALRM: f"are not rendered within {SECONDS:.0f} s",
    -signal.SIGABRT: f"take more than {MEBIBYTES} MiB to render",
}
"""The limit that a process has exceeded, by its exit status."""


class RenderingFailed(Exception):
    """A process gave no answer, for a reason outside the spec: to be retried."""


class SandboxedRenderer:
    """Renders the one chart in child processes."""

    def __init__(self, folder: Path) -> None:
        self._plain = _Process(folder)
        self._templates = _Process(folder)

    async def render(self, resource: Resource, values: Values) -> list[Manifest]:
        """Return what `Renderer.render` returns. Raises SpecMistake, RenderingFailed."""
        process = self._templates if values.get(_TEMPLATES) else self._plain
        return await process.render(resource, values)

    async def start(self) -> None:
        """Start a process, which loads the chart. Raises ConfigurationMistake when it can't."""
        await self._plain.start()

    async def close(self) -> None:
        """End the processes."""
        await self._plain.end()
        await self._templates.end()


@asynccontextmanager
async def open_renderer(folder: Path) -> AsyncIterator[SandboxedRenderer]:
    """Open a started renderer for the block. Raises ConfigurationMistake."""
    renderer = SandboxedRenderer(folder)
    try:
        await renderer.start()
        yield renderer
    finally:
        await renderer.close()


@dataclass(frozen=True)
class _Running:
    """A running process and its two pipes."""

    process: asyncio.subprocess.Process
    requests: asyncio.StreamWriter
    responses: asyncio.StreamReader

    @classmethod
    async def start(cls, folder: Path) -> "_Running":
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "dimse_ingestion.operator.render_worker", str(folder)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LARGEST,
            start_new_session=True,  # the operator's signals must not reach its child processes
        )
        if process.stdin is None or process.stdout is None:
            raise RenderingFailed("The process has no pipes.")
        return cls(process, process.stdin, process.stdout)

    async def read_line(self, longest: float) -> dict[str, Any]:
        """Read the next line. Raises SpecMistake, RenderingFailed."""
        try:
            async with asyncio.timeout(longest):
                read_line = await self.responses.readline()
                if not read_line:
                    raise _exit_error(await self.process.wait())
        except TimeoutError:
            raise RenderingFailed(f"No answer within {longest:.0f} s.") from None
        except ValueError:
            raise SpecMistake(f"{_TEMPLATES} are more than {_LARGEST // 1024**2} MiB.") from None
        response: dict[str, Any] = json.loads(read_line)
        return response

    async def request(self, line: bytes) -> dict[str, Any]:
        """Send a request and return the response. Raises SpecMistake, RenderingFailed."""
        try:
            self.requests.write(line)
            await self.requests.drain()
        except ConnectionError:
            raise RenderingFailed("The process ended before the request.") from None
        return await self.read_line(SECONDS * 2)

    async def end(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        self.requests.close()
        await self.process.communicate()


class _Process:
    """One process, started when needed and restarted after its end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: _Running | None = None
        self._lock = asyncio.Lock()

    async def render(self, resource: Resource, values: Values) -> list[Manifest]:
        async with self._lock:
            try:
                running = await self.start()
                response = await running.request(_request_line(resource, values))
            except BaseException:
                await self.end()  # a late response must not answer the next request
                raise
        if "mistakes" in response:
            raise SpecMistake(*response["mistakes"])
        if "broken" in response:
            raise RenderingFailed(response["broken"])
        objects: list[Manifest] = json.loads(response["objects"])
        return objects

    async def start(self) -> _Running:
        """Return the running process. Raises ConfigurationMistake if it can't load the chart."""
        if self._running is not None and self._running.process.returncode is None:
            return self._running
        self._running = await _Running.start(self._folder)
        first = await self._running.read_line(_LONGEST_START)
        if "error" in first:
            raise ConfigurationMistake([f"The chart can't be loaded: {first['error']}."])
        return self._running

    async def end(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            await running.end()


def _request_line(resource: Resource, values: Values) -> bytes:
    """Encode a request: the values, and the parts of the resource that name the owner."""
    known = ("name", "namespace", "uid")
    body = {
        "apiVersion": resource.body["apiVersion"],
        "kind": resource.body["kind"],
        "metadata": {each: resource.metadata[each] for each in known},
    }
    return json.dumps({"resource": body, "values": values}).encode() + b"\n"


def _exit_error(status: int) -> Exception:
    if bound := _BOUND_EXCEEDED.get(status):
        return SpecMistake(f"{_TEMPLATES} {bound}: shorten what they repeat.")
    return RenderingFailed(f"The process ended with status {status}.")
