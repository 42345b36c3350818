"""The opens of a fetch that a replica accepts, whoever sends them."""

import msgspec
import pytest

from dimse_ingestion.transport.protocol.codec import OpenFetch
from dimse_ingestion.transport.protocol.fetch_batch import LONGEST_IN_BATCH
from dimse_ingestion.transport.protocol.messages import MOST_OBJECTS, FetchObject
from dimse_ingestion.transport.server.openings import is_valid
from tests.unit.transport.client_server import fetch_open

DIGEST = "0" * 64
ONE = FetchObject("k", 1000, DIGEST)


def fetch(*more: FetchObject, **overrides: object) -> OpenFetch:
    open_ = msgspec.structs.replace(fetch_open(b"x", more=more), **overrides)
    return OpenFetch(open=open_, limit=2000)


@pytest.mark.parametrize("count", [0, 1, MOST_OBJECTS - 1])
def test_a_batch_of_short_data_sets_is_accepted(count: int) -> None:
    assert is_valid(fetch(*[ONE] * count))
    assert is_valid(fetch(*[FetchObject("k", LONGEST_IN_BATCH, DIGEST)] * count))


@pytest.mark.parametrize(
    "opening",
    [
        fetch(*[ONE] * MOST_OBJECTS),
        fetch(ONE, offset=1),
        fetch(ONE, size=LONGEST_IN_BATCH + 1),
        fetch(ONE, size=0),
        fetch(ONE, FetchObject("k", 0, DIGEST)),
        fetch(ONE, FetchObject("k", -1, DIGEST)),
        fetch(ONE, FetchObject("k", LONGEST_IN_BATCH + 1, DIGEST)),
        fetch(ONE, FetchObject("k", 10, "0" * 63)),
        fetch(ONE, FetchObject("k", 10, "../" + "0" * 61)),
        fetch(ONE, sha256="A" * 64),
    ],
)
def test_a_batch_beyond_its_bounds_is_refused(opening: OpenFetch) -> None:
    assert not is_valid(opening)


def test_a_long_data_set_and_an_offset_are_accepted_outside_of_a_batch() -> None:
    assert is_valid(fetch(size=10 * LONGEST_IN_BATCH, offset=1000))
