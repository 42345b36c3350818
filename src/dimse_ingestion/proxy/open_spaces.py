"""The storage spaces that are open, and the change to those of other settings.

A space that is added takes associations at once; one that is removed takes no new ones, and is
closed when its last association has ended and its outbox is empty. All others stay open, with their
associations.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from dimse_ingestion.observability import probes
from dimse_ingestion.observability.logging import log_context, logger
from dimse_ingestion.proxy.last_success import LastSuccess
from dimse_ingestion.proxy.space import Space, SpaceDependencies, SpaceWorker, open_space
from dimse_ingestion.proxy.space_health import SpaceHealth
from dimse_ingestion.proxy.space_router import SpaceRouter
from dimse_ingestion.settings import ConfigurationMistake, ProxySettings
from dimse_ingestion.workers.worker import Worker

_LOG = logger(__name__)
_CLOSE_INTERVAL = 0.2  # seconds between checks whether a removed space is used
Connect = Callable[[ProxySettings], AbstractAsyncContextManager[SpaceDependencies]]


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
        self._last_success = LastSuccess(settings.modalities)
        self._stacks: dict[int, AsyncExitStack] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[tuple[Space, ...]]:
        """Open the spaces within the block, whose value they are. Raises ConfigurationMistake."""
        try:
            for index, each in enumerate(self._settings.storage_spaces):
                self._router.add(await self._open(each, index))
            yield tuple(self._router.spaces.values())
        finally:
            for task in self._closing:
                task.cancel()
            await asyncio.gather(*self._closing, return_exceptions=True)
            for stack in reversed(list(self._stacks.values())):
                await stack.aclose()

    async def change(self, settings: ProxySettings) -> None:
        """Use the spaces and the allow-lists of other settings.

        Raises ConfigurationMistake, and then nothing has changed.
        """
        wanted = {each.ae_title: each for each in settings.storage_spaces}
        added = [each for title, each in wanted.items() if title not in self._router.spaces]
        removed = [title for title in self._router.spaces if title not in wanted]
        self._check(settings, has_other_spaces=bool(added or removed))
        opened = await self._open_all(added)
        self._settings.take_over(settings)
        self._last_success.configure(settings.modalities)
        for title, space in self._router.spaces.items():
            if title in wanted:
                space.configure(wanted[title])
        for space in opened:
            self._router.add(space)
        for title in removed:
            self._remove(title)

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
        self._health.remove(title)
        task = asyncio.create_task(self._close_when_unused(space), name=f"close space {title}")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close_when_unused(self, space: Space) -> None:
        # both may last for hours
        while self._router.has_associations(space) or space.backlog():  # noqa: ASYNC110
            await asyncio.sleep(_CLOSE_INTERVAL)
        await self._close(space)
        _LOG.info("The storage space is closed.", space=space.settings.ae_title)

    async def _close(self, space: Space) -> None:
        await self._stacks.pop(id(space)).aclose()
