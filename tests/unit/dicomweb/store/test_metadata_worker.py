import asyncio
import threading
from collections.abc import Iterator

import pytest

from dimse_ingestion.dicomweb.store.metadata_worker import MetadataWorker


@pytest.fixture
def worker() -> Iterator[MetadataWorker]:
    worker = MetadataWorker(100)
    yield worker
    worker.close()


async def test_functions_run_in_one_other_thread(worker: MetadataWorker) -> None:
    names = await asyncio.gather(
        *(worker.run(lambda: threading.current_thread().name) for _ in range(5))
    )
    assert len(set(names)) == 1
    assert names[0] != threading.current_thread().name


async def test_documents_wait_for_capacity_in_order(worker: MetadataWorker) -> None:
    first = await worker.lease(60)
    second = asyncio.create_task(worker.lease(60))
    third = asyncio.create_task(worker.lease(10))
    await asyncio.sleep(0)
    assert not second.done()
    assert not third.done()
    first.release()
    await asyncio.gather(second, third)


async def test_capacity_is_in_use_until_the_last_holder_releases_it(worker: MetadataWorker) -> None:
    lease = await worker.lease(1000)  # more than there is counts as all
    release = lease.share()
    lease.release()
    waiting = asyncio.create_task(worker.lease(1))
    await asyncio.sleep(0)
    assert not waiting.done()
    release()
    await waiting


async def test_a_cancelled_wait_leaves_the_capacity_to_others(worker: MetadataWorker) -> None:
    first = await worker.lease(100)
    leaving, staying = (asyncio.create_task(worker.lease(100)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    first.release()
    (await staying).release()
    (await worker.lease(100)).release()
