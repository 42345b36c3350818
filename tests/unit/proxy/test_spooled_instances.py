"""What waits in the spool of any worker, over real outboxes and sockets."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from dimse_ingestion.outbox.instance_index import UNKNOWN
from dimse_ingestion.proxy.commitment.check import Pending
from dimse_ingestion.proxy.outbox_service import OutboxService
from dimse_ingestion.proxy.spooled_instances import SpooledInstances
from dimse_ingestion.workers.siblings import Siblings
from tests.unit.proxy.test_forwarder import store_open
from tests.unit.proxy.test_outbox_service import Upstream, service, store

WORKERS = 3


def uid(number: int) -> str:
    return store_open(number).sop_instance_uid


@asynccontextmanager
async def worker(
    folder: Path, number: int
) -> AsyncIterator[tuple[OutboxService, SpooledInstances]]:
    """Run the outbox of one of several workers, which has no connection."""
    away = Upstream(problem="NATS is not reached.")
    outboxes = service(folder, away, number, acknowledge="spooled", workers=WORKERS)
    siblings = Siblings(folder, number, WORKERS)
    spooled = SpooledInstances(outboxes, siblings)
    async with outboxes.running(), spooled.answering():
        yield outboxes, spooled


async def test_what_any_worker_has_waits(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(worker(tmp_path, number))
            for number in range(1, WORKERS + 1)
        ]
        for number, (outboxes, _) in enumerate(workers):
            await store(outboxes, number)
        uids = [uid(number) for number in (2, 7, 0, 1, 8)]
        for _, spooled in workers:
            assert await spooled.pending(uids) == Pending(frozenset({0, 2, 3}))
            assert await spooled.pending([]) == Pending()


async def test_a_worker_that_does_not_run_may_have_anything(tmp_path: Path) -> None:
    async with worker(tmp_path, 1) as (outboxes, spooled), worker(tmp_path, 3):
        await store(outboxes, 1)
        found = await spooled.pending([uid(1), uid(2)])
        assert found == Pending(frozenset({0}), is_complete=False)


async def test_a_data_set_without_a_known_instance_may_be_any(tmp_path: Path) -> None:
    outboxes = service(tmp_path, Upstream(), acknowledge="spooled")
    spooled = SpooledInstances(outboxes)
    async with outboxes.running(), spooled.answering():
        assert await spooled.pending([uid(1)]) == Pending()
        instances = outboxes._all[0].outbox.queue.instances
        instances.add(UNKNOWN)
        assert await spooled.pending([uid(1)]) == Pending(is_complete=False)


async def test_before_its_recovery_a_spool_may_have_anything(tmp_path: Path) -> None:
    outboxes = service(tmp_path, Upstream(), acknowledge="spooled")
    assert await SpooledInstances(outboxes).pending([uid(1)]) == Pending(is_complete=False)
    stored = service(tmp_path, Upstream())
    assert await SpooledInstances(stored).pending([uid(1)]) == Pending()


async def test_many_references_are_looked_up(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        (outboxes, first), *_ = [
            await stack.enter_async_context(worker(tmp_path, number))
            for number in range(1, WORKERS + 1)
        ]
        await store(outboxes, 5)
        uids = [f"1.2.3.{number}" for number in range(30_000)]
        uids[12_345] = uid(5)
        assert await first.pending(uids) == Pending(frozenset({12_345}))
