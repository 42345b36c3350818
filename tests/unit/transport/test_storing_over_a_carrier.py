import pytest

from dimse_ingestion.dicom.status import Status
from tests.unit.transport.parts import KIB, Remembering, content_of, play
from tests.unit.transport.virtual_time import played


@pytest.mark.parametrize("size", [0, 1, 1000, 7 * KIB, 8 * KIB, 100 * KIB, 100 * KIB + 1])
def test_the_bytes_arrive_as_they_were(size: int) -> None:
    async def it() -> None:
        replica = Remembering()
        async with play(replica) as both:
            result = await both.store(content_of(size))
        assert (result.status, result.size) == (Status.SUCCESS, size)
        assert replica.stored == [content_of(size)]

    played(it())
