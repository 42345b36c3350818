"""Other content of a known UID is detected, in batched queries, and errors block no store."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from dimse_ingestion.dicom.elements import element
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.dicomweb.store.uid_conflicts import UidConflicts
from dimse_ingestion.failures import Unavailable
from dimse_ingestion.operations.event_builder import Instance
from dimse_ingestion.queries.contract import Located, Query
from dimse_ingestion.queries.memory import MemoryQueryClient


class CountingClient(MemoryQueryClient):
    """Counts its queries."""

    query_count = 0

    async def objects(self, query: Query) -> AsyncGenerator[Located, None]:
        self.query_count += 1
        await asyncio.sleep(0)
        async for each in super().objects(query):
            yield each


def stored(uid: str, sha256: str) -> Located:
    return Located(
        elements=[element(0x00080018, "UI", uid)],
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        bucket_name="images",
        object_name=uid,
        size=1,
        header_size=1,
        sha256=sha256,
    )


def instance(uid: str, sha256: str = "new") -> Instance:
    return Instance("1.2.3", uid, "1.2.840.10008.1.2.1", 1, sha256)


@pytest.fixture
def queries() -> CountingClient:
    client = CountingClient()
    client.add(stored("1.2.1", "old"))
    client.add(stored("1.2.2", "new"))
    return client


async def test_only_other_content_of_the_same_uid_conflicts(queries: CountingClient) -> None:
    conflicts = UidConflicts(queries)
    results = [await conflicts.is_conflicting(instance(uid)) for uid in ("1.2.1", "1.2.2", "1.2.3")]
    assert results == [True, False, False]


async def test_uids_that_arrive_during_a_query_share_the_next_one(queries: CountingClient) -> None:
    conflicts = UidConflicts(queries)
    checks = (conflicts.is_conflicting(instance(f"1.2.{each % 50}")) for each in range(500))
    assert sum(await asyncio.gather(*checks)) == 10
    assert queries.query_count <= 2


@pytest.mark.parametrize(
    "error",
    [Unavailable("It is away."), DimseFailure(Status.CANNOT_UNDERSTAND, "No."), TimeoutError()],
)
async def test_an_error_of_the_catalogue_is_no_conflict(
    queries: CountingClient, error: Exception
) -> None:
    conflicts = UidConflicts(queries)
    queries.refusing = error  # type: ignore[assignment] # whatever a client may raise
    assert not await conflicts.is_conflicting(instance("1.2.1"))
    queries.refusing = None
    assert await conflicts.is_conflicting(instance("1.2.1"))


async def test_a_cancelled_check_leaves_others_running(queries: CountingClient) -> None:
    conflicts = UidConflicts(queries)
    first, second = (
        asyncio.ensure_future(conflicts.is_conflicting(instance("1.2.1"))) for _ in range(2)
    )
    await asyncio.sleep(0)
    first.cancel()
    assert await second


async def test_an_invalid_uid_is_not_queried(queries: CountingClient) -> None:
    assert not await UidConflicts(queries).is_conflicting(instance("1.2.*"))
    assert queries.query_count == 0
