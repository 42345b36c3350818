"""Another content under a known UID is noticed, many are asked at once, trouble hinders none."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from dimse_ingestion.dicom.elements import element
from dimse_ingestion.dicom.failure import DimseFailure, OutOfResources
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.dicomweb.store.uid_conflicts import UidConflicts
from dimse_ingestion.operations.event_builder import Instance
from dimse_ingestion.queries.contract import Located, Query
from dimse_ingestion.queries.memory import MemoryQueryClient


class Counting(MemoryQueryClient):
    """Counts what it is asked."""

    asked = 0

    async def objects(self, query: Query) -> AsyncGenerator[Located, None]:
        self.asked += 1
        await asyncio.sleep(0)
        async for each in super().objects(query):
            yield each


def known(uid: str, sha256: str) -> Located:
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
def queries() -> Counting:
    client = Counting()
    client.add(known("1.2.1", "old"))
    client.add(known("1.2.2", "new"))
    return client


async def test_only_another_content_of_the_same_uid_is_noticed(queries: Counting) -> None:
    likening = UidConflicts(queries)
    told = [await likening.is_conflicting(instance(uid)) for uid in ("1.2.1", "1.2.2", "1.2.3")]
    assert told == [True, False, False]


async def test_those_that_come_meanwhile_are_asked_together(queries: Counting) -> None:
    likening = UidConflicts(queries)
    asked = (likening.is_conflicting(instance(f"1.2.{each % 50}")) for each in range(500))
    assert sum(await asyncio.gather(*asked)) == 10
    assert queries.asked <= 2


@pytest.mark.parametrize(
    "trouble",
    [OutOfResources("It is away."), DimseFailure(Status.CANNOT_UNDERSTAND, "No."), TimeoutError()],
)
async def test_a_catalogue_that_can_t_say_hinders_nothing(
    queries: Counting, trouble: Exception
) -> None:
    likening = UidConflicts(queries)
    queries.refusing = trouble  # type: ignore[assignment] # whatever a client may raise
    assert not await likening.is_conflicting(instance("1.2.1"))
    queries.refusing = None
    assert await likening.is_conflicting(instance("1.2.1"))


async def test_who_is_cancelled_takes_no_other_with_it(queries: Counting) -> None:
    likening = UidConflicts(queries)
    first, second = (
        asyncio.ensure_future(likening.is_conflicting(instance("1.2.1"))) for _ in range(2)
    )
    await asyncio.sleep(0)
    first.cancel()
    assert await second


async def test_what_is_no_uid_is_not_asked(queries: Counting) -> None:
    assert not await UidConflicts(queries).is_conflicting(instance("1.2.*"))
    assert queries.asked == 0
