"""Results of a batch of events that arrived in one request, one for each of them.

A result is the HTTP status that the event would have got alone. The events are committed in
`group_commit`, possibly with those of other requests.
"""

from collections.abc import Iterable, Sequence
from http import HTTPStatus

from dimse_ingestion.catalogue.record import Outcome
from dimse_ingestion.events.batch_codec import EventResult
from dimse_ingestion.events.contract import ImageStoredEvent
from dimse_ingestion.failures import Failure
from dimse_ingestion.observability import metrics


def batch_results(
    events: Sequence[ImageStoredEvent | ValueError], outcomes: Iterable[Outcome | Failure]
) -> list[EventResult]:
    """Return the result of each decoded event, in order; the valid ones have these outcomes."""
    of_valid = iter(outcomes)
    return [
        _result(next(of_valid))
        if isinstance(each, ImageStoredEvent)
        else _counted("refused", HTTPStatus.BAD_REQUEST, str(each))
        for each in events
    ]


def _result(outcome: Outcome | Failure) -> EventResult:
    if isinstance(outcome, ValueError):
        return _counted("refused", HTTPStatus.UNPROCESSABLE_ENTITY, str(outcome))
    if isinstance(outcome, Failure):
        return _counted("failed", HTTPStatus.SERVICE_UNAVAILABLE, outcome.comment)
    return _counted(outcome, HTTPStatus.ACCEPTED)


def _counted(outcome: str, status: HTTPStatus, detail: str = "") -> EventResult:
    metrics.catalogue_events.labels(outcome).inc()
    return EventResult(int(status), detail)
