"""Each event of a batch gets a result of its own."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dimse_ingestion.catalogue.event_batch import batch_results
from dimse_ingestion.catalogue.record import Outcome
from dimse_ingestion.events.batch_codec import EventResult
from dimse_ingestion.failures import Failure, Unavailable
from tests.instances import event

if TYPE_CHECKING:
    from dimse_ingestion.events.contract import ImageStoredEvent

OUTCOMES: Sequence[Outcome | Failure] = [
    ValueError("It has no study."),
    "new",
    Unavailable("The disk is full."),
    "known",
]


def test_each_event_has_the_status_that_it_would_have_got_alone() -> None:
    wrong = ValueError("It is no event.")
    events: list[ImageStoredEvent | ValueError] = [
        event("c"),
        wrong,
        event("a"),
        event("d"),
        event("b"),
    ]
    assert batch_results(events, OUTCOMES) == [
        EventResult(422, "It has no study."),
        EventResult(400, "It is no event."),
        EventResult(202),
        EventResult(503, "The disk is full."),
        EventResult(202),
    ]
