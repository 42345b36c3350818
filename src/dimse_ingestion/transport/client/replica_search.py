"""The search for a replica that answers, while opens stay without an answer.

The server gives each open to any member of the queue group. When one replica hangs, the opens of an
operation may reach it several times in a row, which looks as if the whole service were gone. Echoes
then find out whether another replica is there, and cost it next to nothing: an answer keeps the
operation retrying (see `backoff`).
"""

import asyncio
from contextlib import suppress

from dimse_ingestion.observability import tracing
from dimse_ingestion.transport.carrier import Carrier
from dimse_ingestion.transport.client.attempt import Attempt
from dimse_ingestion.transport.client.inboxes import Inboxes
from dimse_ingestion.transport.protocol.codec import OpenEcho
from dimse_ingestion.transport.protocol.messages import EchoRequest, Origin
from dimse_ingestion.transport.protocol.state import AttemptState
from dimse_ingestion.transport.protocol.subjects import Subjects, new_session
from dimse_ingestion.transport.protocol.timeouts import Timeouts

ECHOES = 3
"""Echoes that are sent at once: with half of the replicas hung, one in eight searches fails."""


class ReplicaSearch:
    """Sends echoes for all operations of one proxy, one search at a time."""

    def __init__(
        self, carrier: Carrier, subjects: Subjects, inboxes: Inboxes, timeouts: Timeouts
    ) -> None:
        self._carrier, self._inboxes, self._timeouts = carrier, inboxes, timeouts
        self._subject = subjects.service("echo")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Send echoes, unless a replica has answered lately or a search is under way."""
        answered_for = asyncio.get_running_loop().time() - self._inboxes.answered_at
        is_under_way = self._task is not None and not self._task.done()
        if answered_for >= self._timeouts.open_timeout and not is_under_way:
            self._task = asyncio.create_task(self._search(), name="search for a replica")

    async def close(self) -> None:
        """End the search."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _search(self) -> None:
        """Send the echoes, and wait for their answers, which `Inboxes` notes."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timeouts.open_timeout):
                await asyncio.gather(*(self._echo() for _ in range(ECHOES)))

    async def _echo(self) -> None:
        machine = AttemptState(self._timeouts, asyncio.get_running_loop().time())
        attempt = Attempt(self._carrier, self._inboxes.new(), machine)
        origin = Origin(calling_ae_title="", called_ae_title="")
        request = EchoRequest(operation_id=new_session(), origin=origin)
        with self._inboxes.registered(attempt):
            await attempt.run(self._subject, OpenEcho(request=request), tracing.headers())
