"""The instances of one STOW-RS request, stored while the request is still being read.

A part is spooled as it comes and stored beside those that follow it, a bounded number at once: an
object store answers each slowly and many quickly. Each instance succeeds or fails for itself, and
what was whole is stored whatever becomes of the rest of the request.
"""

import asyncio
from uuid import uuid4

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.dicomweb.receiving import Named, Receiving
from dimse_ingestion.dicomweb.store_response import Outcome
from dimse_ingestion.observability import metrics
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.operations.describing import Instance
from dimse_ingestion.operations.storing import Storing
from dimse_ingestion.spooling.spool import Spool

_LOG = logger(__name__)
_AT_ONCE = 8


class StoringParts:
    """One request's parts; `study` is the one they must be in, empty for any.

    Use as an asynchronous context manager: at its end nothing of the request is held any more.
    """

    def __init__(self, spool: Spool, storing: Storing, study: str) -> None:
        self._spool = spool
        self._storing = storing
        self._study = study
        self._tasks: list[asyncio.Future[Outcome]] = []
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._receiving: Receiving | None = None
        self._operation_id = ""

    async def __aenter__(self) -> "StoringParts":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._receiving is not None:
            self._receiving.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def count(self) -> int:
        """Instances that are whole."""
        return len(self._tasks)

    def begin(self) -> None:
        """A part begins."""
        self._operation_id = str(uuid4())
        self._receiving = Receiving(self._spool.open(self._operation_id))

    async def write(self, content: bytes) -> None:
        """Some of its bytes."""
        if self._receiving is not None:
            await self._receiving.write(content)

    async def end(self) -> None:
        """The part is whole: store it, as soon as there is room beside the others."""
        receiving, self._receiving = self._receiving, None
        if receiving is None:
            return
        await self._room.acquire()
        storing = self._stored(self._operation_id, receiving)
        task = asyncio.create_task(storing, name="store a part")
        task.add_done_callback(lambda _: self._room.release())
        self._tasks.append(task)

    def refuse(self, failure: DimseFailure) -> None:
        """A part that can't be an instance."""
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        outcome.set_result(Outcome(Named(), failure=failure))
        self._tasks.append(outcome)

    async def outcomes(self) -> list[Outcome]:
        """What became of each, in the order of the parts."""
        return list(await asyncio.gather(*self._tasks))

    async def _stored(self, operation_id: str, receiving: Receiving) -> Outcome:
        try:
            instance = await receiving.sealed()
            self._check_study(receiving.named)
            with metrics.dicomweb_store_seconds.time():
                stored = await self._storing.store(operation_id, instance, receiving.chunks())
        except DimseFailure as failure:
            _told_failure(failure, receiving.named)
            return Outcome(receiving.named, failure=failure)
        except Exception:  # noqa: BLE001 - one instance must not take the others' answers with it
            _LOG.exception("A mistake of ours kept an instance from being stored.")
            ours = DimseFailure(Status.PROCESSING_FAILURE, "internal error")
            return Outcome(receiving.named, failure=ours)
        finally:
            receiving.close()
        _told(instance, stored.key, operation_id, again=stored.duplicate)
        return Outcome(receiving.named)

    def _check_study(self, named: Named) -> None:
        if self._study and named.study_instance_uid != self._study:
            raise DimseFailure(
                Status.DOES_NOT_MATCH_SOP_CLASS,
                "Study Instance UID (0020,000D) is not that of the address it was sent to.",
            )


def _told(instance: Instance, key: str, operation_id: str, *, again: bool) -> None:
    metrics.dicomweb_stored.labels("again" if again else "new").inc()
    _LOG.info(
        "Instance stored.", object=key, size=instance.size, again=again, operation_id=operation_id
    )


def _told_failure(failure: DimseFailure, named: Named) -> None:
    status = f"{failure.status:04X}"
    metrics.dicomweb_store_failures.labels(status).inc()
    _LOG.warning(
        "An instance was not stored.",
        status=status,
        why=failure.comment,
        sop_instance_uid=named.sop_instance_uid,
    )
