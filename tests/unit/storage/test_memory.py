from collections.abc import AsyncIterator

import pytest

from dimse_ingestion.failures import Unavailable
from dimse_ingestion.storage.memory import MemoryBucket


async def test_every_call_raises_the_given_failure() -> None:
    bucket = MemoryBucket()
    bucket.refusing = Unavailable("full")

    async def chunks() -> AsyncIterator[bytes]:
        yield b"x"

    for call in (
        bucket.head("x"),
        bucket.put("x", chunks(), 1),
        bucket.get_range("x", 0, 1),
        bucket.delete("x"),
        bucket.check(),
    ):
        with pytest.raises(Unavailable, match="full"):
            await call
    bucket.refusing = None
    await bucket.check(write=True)
    assert bucket.objects == {}
