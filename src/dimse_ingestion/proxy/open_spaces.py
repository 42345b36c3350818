"""The storage spaces that are open, and the change to those of other settings.

A space that is added takes associations at once; one that is removed takes no new ones, and is
closed when its last association has ended, its outbox is empty, and its storage commitment reports
are sent. One that is added again before that goes on as it is. All others stay open, with their
associations.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from dimse_ingestion.background_tasks import background_tasks
from dimse_ingestion.observability import probes
from dimse_ingestion.observability.logging import log_context, logger
from dimse_ingestion.proxy.last_success import LastSuccess
from dimse_ingestion.proxy.space import Space, SpaceDependencies, SpaceWorker, open_space
from dimse_ingestion.proxy.space_health import SpaceHealth
from dimse_ingestion.proxy.space_router import SpaceRouter
from dimse_ingestion.proxy.unused_folders import JOURNALS, OUTBOXES, UnusedFolders
from dimse_ingestion.settings import ConfigurationMistake, ProxySettings
from dimse_ingestion.workers.worker import Worker

_LOG = logger(__name__)
_CLOSE_INTERVAL = 0.2  # seconds between checks whether a removed space is used
Connect = Callable[[ProxySettings], AbstractAsyncContextManager[SpaceDependencies]]


@dataclass(frozen=True, slots=True)
class _Leaving:
    """A removed space that is still used."""

    space: Space
    health: probes.Health


class OpenSpaces:
    """Open, change and close the spaces of a proxy; `worker` if it is one of several processes."""

    def __init__(
        self,
        settings: ProxySettings,
        connect: Connect,
        health: probes.Health,
        router: SpaceRouter,
        worker: Worker | None,
    ) -> None:
        self._settings = settings
        self._connect = connect
        self._router = router
        self._worker = worker
        self._health = SpaceHealth(health, is_alone=not settings.spaces)
        self._unused = {
            "unused spool": UnusedFolders(OUTBOXES, settings.spool_directory, self._spools),
            "unused commitment journal": UnusedFolders(
                JOURNALS, settings.storage_commitment_directory, self._journals
            ),
        }
        if self._is_first_process:
            for name, folders in self._unused.items():
                health.add_note(name, folders.describe)
        self._last_success = LastSuccess(settings.modalities)
        self._stacks: dict[int, AsyncExitStack] = {}
        self._leaving: dict[str, _Leaving] = {}
        self._closing: dict[str, asyncio.Task[None]] = {}

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[tuple[Space, ...]]:
        """Open the spaces within the block, whose value they are. Raises ConfigurationMistake."""
        try:
            for index, each in enumerate(self._settings.storage_spaces):
                self._router.add(await self._open(each, index))
            async with AsyncExitStack() as stack:
                if self._is_first_process:
                    await self._watch_unused(stack)
                yield tuple(self._router.spaces.values())
        finally:
            closing = list(self._closing.values())
            for task in closing:
                task.cancel()
            await asyncio.gather(*closing, return_exceptions=True)
            for stack in reversed(list(self._stacks.values())):
                await stack.aclose()

    async def _watch_unused(self, stack: AsyncExitStack) -> None:
        """Log the folders that no space uses, and count them until the stack is closed."""
        for name, folders in self._unused.items():
            await folders.log()
            await stack.enter_async_context(background_tasks(folders.watch(), name=name))

    async def change(self, settings: ProxySettings) -> None:
        """Use the spaces and the allow-lists of other settings.

        Raises ConfigurationMistake, and then nothing has changed.
        """
        wanted = {each.ae_title: each for each in settings.storage_spaces}
        added = [each for title, each in wanted.items() if title not in self._router.spaces]
        removed = [title for title in self._router.spaces if title not in wanted]
        self._check(settings, has_other_spaces=bool(added or removed))
        returning = await self._keep({each.ae_title for each in added})
        try:
            opened = await self._open_all(
                [each for each in added if each.ae_title not in returning]
            )
        except BaseException:
            for each in returning.values():
                self._close_later(each)
            raise
        self._settings.take_over(settings)
        self._last_success.configure(settings.modalities)
        for title, each in returning.items():
            self._health.add(title, each.health)
            self._router.add(each.space)
        for title, space in self._router.spaces.items():
            if title in wanted:
                space.configure(wanted[title])
        for space in opened:
            self._router.add(space)
        for title in removed:
            self._remove(title)

    @property
    def _is_first_process(self) -> bool:
        return self._worker is None or self._worker.number == 1

    def _spools(self) -> set[Path]:
        """Return the spool directories of all spaces that are open."""
        return {each.spool_directory for each in self._open_settings()}

    def _journals(self) -> set[Path]:
        """Return the directories of the commitment journals of all spaces that are open."""
        return {
            each.storage_commitment_directory
            for each in self._open_settings()
            if each.storage_commitment_enabled
        }

    def _open_settings(self) -> list[ProxySettings]:
        leaving = [each.space for each in self._leaving.values()]
        return [each.settings for each in (*self._router.spaces.values(), *leaving)]

    def _check(self, settings: ProxySettings, *, has_other_spaces: bool) -> None:
        if bool(settings.spaces) != bool(self._settings.spaces):
            raise ConfigurationMistake(["spaces: restart the proxy to begin or end using it."])
        if has_other_spaces and not settings.spaces:
            raise ConfigurationMistake(["DIMSE_AE: restart the proxy to change its AE title."])
        if has_other_spaces and self._worker is not None:
            raise ConfigurationMistake(
                ["spaces: with several workers, restart the proxy to add or remove a space."]
            )

    async def _open_all(self, spaces: list[ProxySettings]) -> list[Space]:
        """Open all spaces, or none. Raises ConfigurationMistake."""
        opened: list[Space] = []
        try:
            for each in spaces:
                opened.append(await self._open(each, 0))  # noqa: PERF401 - closed below
        except ConfigurationMistake:
            for space in opened:
                self._health.remove(space.settings.ae_title)
                await self._close(space)
            raise
        return opened

    async def _open(self, settings: ProxySettings, index: int) -> Space:
        """Open a space. Raises ConfigurationMistake."""
        health = self._health.add(settings.ae_title)
        process = SpaceWorker(self._worker, index)
        try:
            async with AsyncExitStack() as stack:
                # tasks that begin here have the space in their log lines
                with log_context(space=settings.ae_title):
                    connection = await stack.enter_async_context(self._connect(settings))
                    opening = open_space(settings, connection, health, self._last_success, process)
                    space = await stack.enter_async_context(opening)
                self._stacks[id(space)] = stack.pop_all()
        except ConfigurationMistake:
            self._health.remove(settings.ae_title)
            raise
        return space

    def _remove(self, title: str) -> None:
        space = self._router.remove(title)
        self._close_later(_Leaving(space, self._health.remove(title) or probes.Health()))

    def _close_later(self, leaving: _Leaving) -> None:
        title = leaving.space.settings.ae_title
        self._leaving[title] = leaving
        closing = self._close_when_unused(leaving.space)
        self._closing[title] = asyncio.create_task(closing, name=f"close space {title}")

    async def _close_when_unused(self, space: Space) -> None:
        title = space.settings.ae_title
        # both may last for hours
        while self._router.has_associations(space) or space.is_busy():  # noqa: ASYNC110
            await asyncio.sleep(_CLOSE_INTERVAL)
        del self._leaving[title]
        await self._close(space)
        _LOG.info("The storage space is closed.", space=title)

    async def _keep(self, titles: set[str]) -> dict[str, _Leaving]:
        """Return the spaces with these titles that are removed and still used: they stay open.

        Those that are being closed are closed when this returns, and can be opened again.
        """
        returning = {title: self._leaving.pop(title) for title in titles & self._leaving.keys()}
        for title in returning:
            self._closing[title].cancel()
        tasks = [self._closing.pop(title) for title in titles & self._closing.keys()]
        await asyncio.gather(*tasks, return_exceptions=True)
        return returning

    async def _close(self, space: Space) -> None:
        await self._stacks.pop(id(space)).aclose()
