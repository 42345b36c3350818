"""What all requests have in common: their failures are recorded, and a C-CANCEL ends them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import Failure
from dimse_ingestion.observability import metrics
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.transport.contract import ByteSink, InstanceSink, MatchSink

_LOG = logger(__name__)
_CANCEL_SEEN_WITHIN = 0.2  # seconds, while nothing is sent
Cancellable = MatchSink | InstanceSink | ByteSink


@asynccontextmanager
async def until_cancelled(sink: Cancellable) -> AsyncIterator[None]:
    """Leave the block soon after a C-CANCEL, even while the catalogue sends nothing."""
    deadline = asyncio.timeout(None)
    watching = asyncio.create_task(_watch_for_cancel(sink, deadline), name="watch for C-CANCEL")
    try:
        async with deadline:
            yield
    except TimeoutError:
        if not deadline.expired():
            raise
    finally:
        watching.cancel()


async def _watch_for_cancel(sink: Cancellable, deadline: asyncio.Timeout) -> None:
    while not sink.cancelled:  # noqa: ASYNC110 - the contract has no event for it
        await asyncio.sleep(_CANCEL_SEEN_WITHIN)
    deadline.reschedule(asyncio.get_running_loop().time())


@contextmanager
def record_failures(
    service: str, status_of: Callable[[Failure], Status], **log_fields: str
) -> Iterator[None]:
    """Count and log a failed operation, and raise its failure again for the transport."""
    try:
        yield
    except Failure as failure:
        status = f"{status_of(failure):04X}"
        metrics.ingestion_failures.labels(service, status).inc()
        _LOG.warning(
            "An operation failed.",
            operation=service,
            status=status,
            reason=failure.comment,
            **log_fields,
        )
        raise
