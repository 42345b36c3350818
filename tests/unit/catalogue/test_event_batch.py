"""Each event of a batch gets a result of its own."""

from collections.abc import Sequence

from dimse_ingestion.catalogue.event_batch import record_batch
from dimse_ingestion.catalogue.record import Outcome
from dimse_ingestion.events.batch_codec import EventResult
from dimse_ingestion.events.contract import ImageStoredEvent
from dimse_ingestion.failures import Unavailable
from tests.instances import event

OUTCOMES: dict[str, Outcome | BaseException] = {
    "a-0": "new",
    "b-0": "known",
    "c-0": ValueError("It has no study."),
    "d-0": Unavailable("The disk is full."),
}


async def commit(events: Sequence[ImageStoredEvent]) -> list[Outcome | BaseException]:
    return [OUTCOMES[each.id] for each in events]


async def test_each_event_has_the_status_that_it_would_have_got_alone() -> None:
    wrong = ValueError("It is no event.")
    events: list[ImageStoredEvent | ValueError] = [
        event("c"),
        wrong,
        event("a"),
        event("d"),
        event("b"),
    ]
    assert await record_batch(events, commit) == [
        EventResult(422, "It has no study."),
        EventResult(400, "It is no event."),
        EventResult(202),
        EventResult(503, "The disk is full."),
        EventResult(202),
    ]
