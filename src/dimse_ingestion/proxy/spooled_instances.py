"""Which instances wait in the spool, of this worker and of all others of the proxy.

Storage commitment waits for them: an instance may be referenced at another worker than the one that
took it. A worker that is being started, or does not answer, may have any instance.
"""

import asyncio
from array import array
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from dimse_ingestion.outbox.instance_index import FINGERPRINT_LENGTH, fingerprint
from dimse_ingestion.proxy.commitment.check import Pending
from dimse_ingestion.proxy.outbox_service import OutboxService
from dimse_ingestion.workers.siblings import Siblings

_AT_ONCE = 2000
"""UIDs that are hashed before the event loop does something else."""
_NUMBER = "Q"


class SpooledInstances:
    """The instances in a space's outboxes, as `PendingInstances`; `name` is the space's.

    Between workers a question is the fingerprints, and an answer one byte for each that is 1 if
    the instance waits, after a byte that is 1 if all that waits is known.
    """

    def __init__(
        self, outboxes: OutboxService, siblings: Siblings | None = None, name: str = "spooled"
    ) -> None:
        self._outboxes = outboxes
        self._siblings = siblings
        self._name = name

    @asynccontextmanager
    async def answering(self) -> AsyncIterator[None]:
        """Answer the other workers within the block."""
        if self._siblings is None:
            yield
            return
        async with self._siblings.answering(self._name, self._answer):
            yield

    async def pending(self, sop_instance_uids: Sequence[str]) -> Pending:
        """Return which of these instances wait in the spool of any worker."""
        question = await _question(sop_instance_uids)
        answers: list[bytes | None] = [self._answer(question)]
        if self._siblings is not None:
            answers += await self._siblings.ask(self._name, question)
        length = 1 + len(sop_instance_uids)
        known = [each for each in answers if each is not None and len(each) == length]
        waiting = {n for each in known for n, waits in enumerate(each[1:]) if waits}
        is_complete = len(known) == len(answers) and all(each[0] for each in known)
        return Pending(frozenset(waiting), is_complete=is_complete)

    def _answer(self, question: bytes) -> bytes:
        fingerprints = array(_NUMBER)
        fingerprints.frombytes(question[: len(question) // FINGERPRINT_LENGTH * FINGERPRINT_LENGTH])
        has = self._outboxes.has_instance
        return bytes([self._outboxes.knows_instances, *map(has, fingerprints)])


async def _question(sop_instance_uids: Sequence[str]) -> bytes:
    fingerprints = array(_NUMBER)
    for start in range(0, len(sop_instance_uids), _AT_ONCE):
        fingerprints.extend(map(fingerprint, sop_instance_uids[start : start + _AT_ONCE]))
        await asyncio.sleep(0)
    return fingerprints.tobytes()
