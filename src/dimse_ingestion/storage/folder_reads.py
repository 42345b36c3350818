"""Reads of a folder's files in threads: a few that are requested together are one call of a thread.

A call of a thread costs more than reading a small file that the system has in memory. The errors
are the file system's; `folder` maps them.
"""

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

_THREADS = 8
_MOST_READS = 4  # in one call: more would make a slow disk read them one after the other
_MOST_BYTES = 2**20  # in one call


@dataclass(frozen=True, slots=True)
class _Read:
    path: str | Path
    offset: int
    length: int
    result: "asyncio.Future[bytes]"


class FileReads:
    """Reads parts of files."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, "folder read")
        self._requested: list[_Read] = []

    async def read(self, path: str | Path, offset: int, length: int) -> bytes:
        """Return at most `length` bytes from `offset`; raises OSError."""
        loop = asyncio.get_running_loop()
        requested = _Read(path, offset, length, loop.create_future())
        if not self._requested or self._requested[0].result.get_loop() is not loop:
            self._requested = []
            loop.call_soon(self._start, loop)
        self._requested.append(requested)
        return await requested.result

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start what was requested since the event loop's last iteration."""
        requested, self._requested = self._requested, []
        for group in _groups(requested):
            self._threads.submit(_perform, loop, group)


def _groups(requested: list[_Read]) -> Iterator[list[_Read]]:
    group: list[_Read] = []
    length = 0
    for each in requested:
        if group and (len(group) == _MOST_READS or length + each.length > _MOST_BYTES):
            yield group
            group, length = [], 0
        group.append(each)
        length += each.length
    if group:
        yield group


def _perform(loop: asyncio.AbstractEventLoop, group: list[_Read]) -> None:
    """Perform the reads of a group, and give their results to the event loop."""
    results = [b"" if each.result.done() else _result(each) for each in group]
    loop.call_soon_threadsafe(_finish, group, results)


def _result(requested: _Read) -> bytes | Exception:
    try:
        return _content(requested)
    except Exception as error:  # noqa: BLE001 - raised where the bytes are awaited
        return error


def _content(requested: _Read) -> bytes:
    descriptor = os.open(requested.path, os.O_RDONLY)
    try:
        content = os.pread(descriptor, requested.length, requested.offset)
        # a read is short at the end of the file, or where the system has a limit
        while 0 < len(content) < requested.length:
            end = requested.offset + len(content)
            more = os.pread(descriptor, requested.length - len(content), end)
            if not more:
                break
            content += more
        return content
    finally:
        os.close(descriptor)


def _finish(group: list[_Read], results: list[bytes | Exception]) -> None:
    for each, result in zip(group, results, strict=True):
        if each.result.done():
            continue
        if isinstance(result, Exception):
            each.result.set_exception(result)
        else:
            each.result.set_result(result)
