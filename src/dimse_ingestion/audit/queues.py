"""The queues of audit messages on disk: one for each process, and those of processes that ended.

A process takes the first queue of its service that no other process uses, so that workers of a
proxy, and pods that share a volume, need no numbers of their own. What another process has left is
sent and its queue closed, whoever that was.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from dimse_ingestion.audit.delivery import Delivery
from dimse_ingestion.audit.repository import repository
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.outbox.disk import Limits
from dimse_ingestion.outbox.folders import Folders, NewerFormat, OutboxInUse
from dimse_ingestion.outbox.kind import AUDIT_MESSAGES
from dimse_ingestion.outbox.outbox import Outbox
from dimse_ingestion.settings.audit import AuditSettings
from dimse_ingestion.settings.errors import ConfigurationMistake, directory_mistake

_LOG = logger(__name__)
_SETTING = "DIMSE_AUDIT_DIRECTORY"
_SEGMENT = 4 * 2**20
_MOST = 256
"""Queues of one service in a folder, each of a process."""


class AuditQueues:
    """The queues of one service; the limit is divided between its `processes`."""

    def __init__(self, settings: AuditSettings, service: str, processes: int) -> None:
        self._settings = settings
        self._service = service
        self._limits = Limits(settings.audit_limit // processes)

    @asynccontextmanager
    async def own(self) -> AsyncIterator[Outbox]:
        """Open a queue for this process within the block. Raises ConfigurationMistake."""
        for number in range(1, _MOST + 1):
            queue = await self._opened(self._directory(number))
            if queue is not None:
                break
        else:
            raise ConfigurationMistake(
                [f"{_SETTING}: {_MOST} processes use its queues already: give another folder."]
            )
        try:
            yield queue
        finally:
            await queue.close()

    async def send_left(self) -> None:
        """Send what is in queues that no process uses; one that isn't taken holds up no other."""
        async with asyncio.TaskGroup() as group:
            for number in range(1, _MOST + 1):
                directory = self._directory(number)
                if await asyncio.to_thread(Folders(directory).has_content):
                    group.create_task(self._send_left(directory))

    async def _send_left(self, directory: Path) -> None:
        try:
            queue = await self._opened(directory)
        except ConfigurationMistake as mistake:
            _LOG.error("An audit queue can't be sent.", reason="; ".join(mistake.sentences))
            return
        if queue is None:
            return
        try:
            async with delivered(queue, self._settings) as delivery:
                await delivery.wait_until_empty()
        finally:
            await queue.close()

    def _directory(self, number: int) -> Path:
        name = self._service if number == 1 else f"{self._service}-{number}"
        return self._settings.audit_directory / name

    async def _opened(self, directory: Path) -> Outbox | None:
        """Return an open queue; None if a process uses it. Raises ConfigurationMistake."""
        queue = Outbox(directory, self._limits, segment_length=_SEGMENT, kind=AUDIT_MESSAGES)
        try:
            await queue.open()
        except OutboxInUse:
            await queue.close()
            return None
        except NewerFormat as newer:
            await queue.close()
            raise ConfigurationMistake(
                [f"{_SETTING}: {newer} was written by a newer release: run that one."]
            ) from None
        except OSError as error:
            await queue.close()
            raise directory_mistake(_SETTING, str(directory), error) from None
        return queue


@asynccontextmanager
async def delivered(queue: Outbox, settings: AuditSettings) -> AsyncIterator[Delivery]:
    """Send what is in a queue within the block."""
    delivery = Delivery(queue, repository(settings))
    async with delivery.running():
        yield delivery
