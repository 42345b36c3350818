"""Recording of a batch of events that arrived in one request, with a result for each of them.

A result is the HTTP status that the event would have got alone. The events are committed in
`group_commit`, possibly with those of other requests.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from http import HTTPStatus

from dimse_ingestion.catalogue.record import Outcome
from dimse_ingestion.events.batch_codec import EventResult
from dimse_ingestion.events.contract import ImageStoredEvent
from dimse_ingestion.failures import Failure
from dimse_ingestion.observability import metrics, tracing

Commit = Callable[[Sequence[ImageStoredEvent]], Awaitable[Sequence[Outcome | BaseException]]]
"""Returns the outcome of each event after its commit, or the Failure that it failed with."""


async def record_batch(
    events: Sequence[ImageStoredEvent | ValueError], commit: Commit
) -> list[EventResult]:
    """Commit the valid ones of the decoded events and return the result of each, in order."""
    valid = [each for each in events if isinstance(each, ImageStoredEvent)]
    with ExitStack() as spans:
        for each in valid:
            spans.enter_context(tracing.detached_span("catalogue event", each.traceparent))
        outcomes = iter(await commit(valid))
    return [
        _result(next(outcomes))
        if isinstance(each, ImageStoredEvent)
        else _counted("refused", HTTPStatus.BAD_REQUEST, str(each))
        for each in events
    ]


def _result(outcome: Outcome | BaseException) -> EventResult:
    match outcome:
        case "new" | "known":
            return _counted(outcome, HTTPStatus.ACCEPTED)
        case ValueError():
            return _counted("refused", HTTPStatus.UNPROCESSABLE_ENTITY, str(outcome))
        case Failure():
            return _counted("failed", HTTPStatus.SERVICE_UNAVAILABLE, outcome.comment)
    raise outcome


def _counted(outcome: str, status: HTTPStatus, detail: str = "") -> EventResult:
    metrics.catalogue_events.labels(outcome).inc()
    return EventResult(int(status), detail)
