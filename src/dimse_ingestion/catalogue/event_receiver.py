"""Reception of events, single and in batches: from a request to the answer after its commit.

Requests with a short body, as nearly all are, are taken from the connection itself; others come
through ASGI and get the same answers. Routes and the token's middleware are in
`http_api`, a batch's results in `event_batch`.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from dimse_ingestion.catalogue.event_batch import batch_results
from dimse_ingestion.catalogue.group_commit import GroupCommit
from dimse_ingestion.catalogue.problems import REFUSALS, problem, refusal_response
from dimse_ingestion.catalogue.record import Outcome
from dimse_ingestion.catalogue.request_body import (
    DECODED_IN_PLACE,
    BodyReader,
    decode_body,
)
from dimse_ingestion.events import batch_codec, cloudevents
from dimse_ingestion.events.batch_codec import BATCH_TYPE
from dimse_ingestion.events.contract import ImageStoredEvent
from dimse_ingestion.failures import Failure, Unavailable
from dimse_ingestion.observability import metrics, tracing
from dimse_ingestion.observability.short_requests import Headers

_ACCEPTED = Response(status_code=HTTPStatus.ACCEPTED)
_Outcomes = Sequence[Outcome | Failure]
Events = list[ImageStoredEvent | ValueError]


class EventReceiver:
    """Records events by `group_commit`; `database_problem` returns why it can't, if so.

    `is_authorized` returns whether a header Authorization is right, of requests that no middleware
    has checked.
    """

    target = (b"POST", b"/events")

    def __init__(
        self,
        group_commit: GroupCommit,
        body_reader: BodyReader,
        database_problem: Callable[[], str],
        is_authorized: Callable[[str], bool],
    ) -> None:
        self.longest = min(DECODED_IN_PLACE, body_reader.longest)
        self.hold, self.release = body_reader.hold, body_reader.release
        self._group_commit = group_commit
        self._body_reader = body_reader
        self._database_problem = database_problem
        self._is_authorized = is_authorized

    async def receive(self, request: Request) -> Response:
        """Record an event or a batch; answer 2xx only after the commit."""
        kind = _kind(request.headers)
        try:
            async with self._body_reader.body(request) as body:
                events = await decode_body(body, lambda: kind.decode(request.headers, body))
                with ExitStack() as spans:
                    for each in _valid(events):
                        spans.enter_context(
                            tracing.detached_span("catalogue event", each.traceparent)
                        )
                    outcomes = await self._commit(events)
        except REFUSALS as refusal:
            return kind.refusal(refusal)
        return kind.answer(events, outcomes)

    def take(self, headers: Headers, body: bytes, answer: Callable[[Response], None]) -> bool:
        """See ShortRequests. The application refuses other tokens, and records spans."""
        fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers[::-1]}
        if tracing.is_exporting() or not self._is_authorized(fields.get("authorization", "")):
            return False
        kind = _kind(fields)
        try:
            events = kind.decode(fields, body)
        except ValueError as wrong:
            self.release(len(body))
            answer(kind.refusal(wrong))
            return True
        committed = self._commit(events)
        committed.add_done_callback(partial(self._answer, kind, events, len(body), answer))
        return True

    def _answer(
        self,
        kind: "type[_Single | _Batch]",
        events: Events,
        held: int,
        answer: Callable[[Response], None],
        committed: "asyncio.Future[list[Outcome | Failure]]",
    ) -> None:
        self.release(held)
        answer(kind.answer(events, committed.result()))

    def _commit(self, events: Events) -> "asyncio.Future[list[Outcome | Failure]]":
        valid = _valid(events)
        if not (reason := self._database_problem()):
            return self._group_commit.submit(valid)
        failed: asyncio.Future[list[Outcome | Failure]]
        failed = asyncio.get_running_loop().create_future()
        failed.set_result([Unavailable(reason)] * len(valid))
        return failed


class _Single:
    """A request with one event."""

    @staticmethod
    def decode(headers: Mapping[str, str], body: bytes) -> Events:
        """Return the event. Raises ValueError."""
        return [cloudevents.decode(headers, body)]

    @staticmethod
    def refusal(refusal: Exception) -> Response:
        """Return the answer to a request that is refused before its event is committed."""
        metrics.catalogue_events.labels(
            "failed" if isinstance(refusal, Failure) else "refused"
        ).inc()
        return refusal_response(refusal)

    @staticmethod
    def answer(_: Events, outcomes: _Outcomes) -> Response:
        """Return the answer to a request."""
        [outcome] = outcomes
        if isinstance(outcome, Failure):
            metrics.catalogue_events.labels("failed").inc()
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, outcome.comment)
        if isinstance(outcome, ValueError):
            metrics.catalogue_events.labels("refused").inc()
            return problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(outcome))
        metrics.catalogue_events.labels(outcome).inc()
        return _ACCEPTED


class _Batch:
    """A request with a batch of events, each of which gets a result."""

    @staticmethod
    def decode(_: Mapping[str, str], body: bytes) -> Events:
        """Return the events. Raises ValueError."""
        return batch_codec.decode_batch(body)

    @staticmethod
    def refusal(refusal: Exception) -> Response:
        """Return the answer to a request that is refused as a whole."""
        return refusal_response(refusal)

    @staticmethod
    def answer(events: Events, outcomes: _Outcomes) -> Response:
        """Return the answer to a request."""
        results = batch_codec.encode_results(batch_results(events, outcomes))
        return Response(results, media_type="application/json")


def _kind(headers: Mapping[str, str]) -> type[_Single | _Batch]:
    is_batch = headers.get("content-type", "").lower().startswith(BATCH_TYPE)
    return _Batch if is_batch else _Single


def _valid(events: Events) -> list[ImageStoredEvent]:
    return [each for each in events if isinstance(each, ImageStoredEvent)]
