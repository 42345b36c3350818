"""HTTP API of the catalogue: events and probes here, queries in `query_api`.

A 2xx for an event means that it is committed. Addresses and ports are in `app`.
"""

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from dimse_ingestion.catalogue import database
from dimse_ingestion.catalogue.event_batch import record_batch
from dimse_ingestion.catalogue.group_commit import GroupCommit
from dimse_ingestion.catalogue.problems import REFUSALS, problem, refusal_response
from dimse_ingestion.catalogue.query_api import QueryApi
from dimse_ingestion.catalogue.record import Outcome, record
from dimse_ingestion.catalogue.request_body import BodyReader, BodyTooLong, decode_body
from dimse_ingestion.catalogue.rotating import RotatingDatabase
from dimse_ingestion.events import batch_codec, cloudevents
from dimse_ingestion.events.batch_codec import BATCH_TYPE
from dimse_ingestion.events.contract import ImageStoredEvent
from dimse_ingestion.failures import Failure, Unavailable
from dimse_ingestion.observability import metrics, probes, tracing
from dimse_ingestion.secure_http.bearer import RefusalLog, RequireToken
from dimse_ingestion.secure_http.mounted_value import MountedValue
from dimse_ingestion.settings import CatalogueSettings, MountedMissing

_RETRY_INTERVAL = 1.0
_REFRESH_INTERVAL = 5.0  # seconds until a rotated password is used


class _EventsFirst:
    """ASGI application that has events received without Starlette's routing and middleware.

    These cost as much as the rest of a request with one event.
    """

    def __init__(self, events: ASGIApp, others: ASGIApp) -> None:
        self._events, self._others = events, others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        is_event = (scope.get("method"), scope.get("path")) == ("POST", "/events")
        await (self._events if is_event else self._others)(scope, receive, send)


class HttpApi:
    """The HTTP API; run `refresh_database` and `run_commits` as tasks beside it."""

    def __init__(self, database_in_use: RotatingDatabase, settings: CatalogueSettings) -> None:
        self.health = probes.Health("catalogue")
        self._database = database_in_use
        self._settings = settings
        self._group_commit = GroupCommit(
            lambda events: record(database_in_use.engine, events, settings.duplicates),
            settings.commit_size,
        )
        self._body_reader = BodyReader(settings.maximum_event_length)
        self._queries = QueryApi(database_in_use, settings, self._body_reader)
        self.health.add("database", self._database_problem)
        probed = probes.routes(self.health)
        protect = self._protection()
        self.app = _EventsFirst(
            protect(self._serve_events),
            Starlette(routes=[*probed, Mount("/", protect(self._events_and_queries()))]),
        )
        """Events and queries with the token, and the probes without."""
        wrong_port = [
            Route(path, _wrong_port, methods=["POST", "OPTIONS"])
            for path in ("/events", "/query/{level}")
        ]
        self.probes = Starlette(routes=[*probed, *wrong_port])
        """The probes alone, for deployments where events and queries have their own port."""

    def _events_and_queries(self) -> ASGIApp:
        events = [
            Route("/events", self._receive_events, methods=["POST"]),
            Route("/events", _announce_batches, methods=["OPTIONS"]),
        ]
        return Starlette(routes=[*events, *self._queries.routes()])

    def _protection(self) -> Callable[[ASGIApp], ASGIApp]:
        """Return what makes an application require the token, if there is one."""
        access = self._settings.access
        if not access.token:
            return lambda app: app
        tokens, refusals = MountedValue(access.read_tokens), RefusalLog()
        self.health.add("token", lambda: _token_problem(tokens))
        return lambda app: RequireToken(app, tokens, refusals)

    async def _serve_events(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._receive_events(Request(scope, receive))
        await response(scope, receive, send)

    async def refresh_database(self) -> None:
        """Use the database of the mounted URL, with its schema up to date, until cancelled."""
        while True:
            in_use = await asyncio.to_thread(self._database.refresh)
            await asyncio.sleep(_REFRESH_INTERVAL if in_use else _RETRY_INTERVAL)

    async def run_commits(self) -> None:
        """Commit events until cancelled."""
        await self._group_commit.run()

    def close(self) -> None:
        """End the threads."""
        self._queries.close()

    async def _database_problem(self) -> str:
        if problem := self._database.problem or self._group_commit.problem:
            return problem
        try:
            await asyncio.to_thread(database.check, self._database.engine)
        except Failure as failure:
            return failure.comment
        return ""

    async def _receive_events(self, request: Request) -> Response:
        """Record an event or a batch of events."""
        is_batch = request.headers.get("content-type", "").lower().startswith(BATCH_TYPE)
        return await (self._event_batch(request) if is_batch else self._event(request))

    async def _event_batch(self, request: Request) -> Response:
        """Record a batch; answer 200 after the commit, with a result for each event."""
        try:
            async with self._body_reader.body(request) as body:
                events = await decode_body(body, lambda: batch_codec.decode_batch(body))
                results = await record_batch(events, self._commit_all)
        except REFUSALS as refusal:
            return refusal_response(refusal)
        return Response(batch_codec.encode_results(results), media_type="application/json")

    async def _event(self, request: Request) -> Response:
        """Record an event; answer 2xx only after the commit."""
        try:
            async with self._body_reader.body(request) as body:
                event = await decode_body(body, lambda: cloudevents.decode(request.headers, body))
                self._check_database()
                with tracing.span("catalogue event", event.traceparent):
                    outcome = await self._group_commit.submit(event)
        except BodyTooLong as wrong:
            return _event_refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(wrong))
        except ValueError as wrong:
            return _event_refusal(HTTPStatus.BAD_REQUEST, str(wrong))
        except Failure as failure:
            metrics.catalogue_events.labels("failed").inc()
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, failure.comment)
        if isinstance(outcome, ValueError):
            return _event_refusal(HTTPStatus.UNPROCESSABLE_ENTITY, str(outcome))
        metrics.catalogue_events.labels(outcome).inc()
        return Response(status_code=HTTPStatus.ACCEPTED)

    async def _commit_all(
        self, events: Sequence[ImageStoredEvent]
    ) -> Sequence[Outcome | BaseException]:
        if self._database.problem:
            return [Unavailable(self._database.problem)] * len(events)
        return await self._group_commit.submit_all(events)

    def _check_database(self) -> None:
        if self._database.problem:
            raise Unavailable(self._database.problem)


def _token_problem(tokens: MountedValue[tuple[str, ...]]) -> str:
    try:
        tokens.value()
    except MountedMissing as missing:
        return str(missing)
    return ""


async def _announce_batches(_: Request) -> Response:
    """Answer the methods and media types that events may have."""
    headers = {"allow": "POST, OPTIONS", "accept-post": batch_codec.ACCEPT_POST}
    return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)


async def _wrong_port(_: Request) -> Response:
    """Answer 421 to events and queries at the port of the probes (RFC 9110 15.5.20)."""
    return problem(
        HTTPStatus.MISDIRECTED_REQUEST, "Events and queries are served over TLS, at another port."
    )


def _event_refusal(status: HTTPStatus, detail: str) -> Response:
    metrics.catalogue_events.labels("refused").inc()
    return problem(status, detail)
