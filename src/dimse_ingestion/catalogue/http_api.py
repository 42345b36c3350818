"""HTTP API of the catalogue: events, queries, probes.

A 2xx for an event means that it is committed. The answer to a query is streamed, and its last line
says how it ended. Addresses and ports are in `app`.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from functools import partial
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from dimse_ingestion.catalogue import database, known_objects
from dimse_ingestion.catalogue.event_batch import record_batch
from dimse_ingestion.catalogue.group_commit import GroupCommit
from dimse_ingestion.catalogue.query import Page, count_matches, located_pages, pages
from dimse_ingestion.catalogue.query_response import Lines, query_response
from dimse_ingestion.catalogue.record import Outcome, record
from dimse_ingestion.catalogue.request_body import BodyReader, BodyTooLong, decode_body
from dimse_ingestion.catalogue.rotating import RotatingDatabase
from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.events import batch_codec, cloudevents
from dimse_ingestion.events.batch_codec import BATCH_TYPE
from dimse_ingestion.events.contract import ImageStoredEvent
from dimse_ingestion.failures import Failure, LimitExceeded, Unavailable
from dimse_ingestion.observability import metrics, probes, tracing
from dimse_ingestion.queries import count_codec, wire
from dimse_ingestion.queries.contract import Query
from dimse_ingestion.secure_http.bearer import RequireToken
from dimse_ingestion.secure_http.mounted_value import MountedValue
from dimse_ingestion.settings import CatalogueSettings, MountedMissing

_RETRY_INTERVAL = 1.0
_REFRESH_INTERVAL = 5.0  # seconds until a rotated password is used
_RESERVED_CONNECTIONS = 2  # connections not for queries: the commit and the probe
_MOST_COUNTED = 1000  # rows that are decoded to count matches
_REFUSALS = (BodyTooLong, ValueError, Failure)


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
        readers = max(1, settings.maximum_connections - _RESERVED_CONNECTIONS)
        self._readers = ThreadPoolExecutor(readers, "query")
        self.health.add("database", self._database_problem)
        probed = probes.routes(self.health)
        self.app = Starlette(routes=[*probed, Mount("/", self._protected_app())])
        """Events and queries with the token, and the probes without."""
        wrong_port = [
            Route(path, _wrong_port, methods=["POST", "OPTIONS"])
            for path in ("/events", "/query/{level}")
        ]
        self.probes = Starlette(routes=[*probed, *wrong_port])
        """The probes alone, for deployments where events and queries have their own port."""

    def _protected_app(self) -> ASGIApp:
        paths = [*wire.PATHS.values(), wire.OBJECTS]
        queries = [Route(path, self._query, methods=["POST"]) for path in paths]
        queries.append(Route(wire.COUNT, self._count, methods=["POST"]))
        queries.append(Route(wire.MISSING, self._missing_objects, methods=["POST"]))
        events = [
            Route("/events", self._receive_events, methods=["POST"]),
            Route("/events", _announce_batches, methods=["OPTIONS"]),
        ]
        app = Starlette(routes=[*events, *queries])
        access = self._settings.access
        if not access.token:
            return app
        tokens = MountedValue(access.read_tokens)
        self.health.add("token", lambda: _token_problem(tokens))
        return RequireToken(app, tokens)

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
        self._readers.shutdown(wait=False, cancel_futures=True)

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
        except _REFUSALS as refusal:
            return _refusal(refusal)
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
            return _problem(HTTPStatus.SERVICE_UNAVAILABLE, failure.comment)
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

    async def _missing_objects(self, request: Request) -> Response:
        """Answer which of some objects have no entry."""
        try:
            source = _source(request)
            async with self._body_reader.body(request) as body:
                names = await decode_body(body, lambda: wire.decode_names(body))
            engine, bucket_name = self._database.engine, names.bucket_name
            loop = asyncio.get_running_loop()
            missing = await loop.run_in_executor(
                self._readers,
                known_objects.missing,
                engine,
                source,
                bucket_name,
                names.object_names,
            )
        except _REFUSALS as refusal:
            return _refusal(refusal)
        answer = wire.encode_names(wire.ObjectNames(bucket_name, missing))
        return Response(answer, media_type="application/json")

    async def _query(self, request: Request) -> Response:
        """Answer a query by its matches."""
        try:
            source, query = await self._read_query(request)
        except _REFUSALS as refusal:
            return _refusal(refusal)
        parent = request.headers.get(tracing.TRACEPARENT, "")
        answer = self._answer(query, source, parent, objects=request.url.path == wire.OBJECTS)
        return await query_response(answer, wire.MEDIA_TYPE)

    async def _count(self, request: Request) -> Response:
        """Answer the number of matches, if it is known without decoding very many rows."""
        try:
            source, query = await self._read_query(request)
            engine, timeout = self._database.engine, self._settings.query_timeout
            count = partial(count_matches, engine, query, source, timeout, _MOST_COUNTED)
            number = await asyncio.get_running_loop().run_in_executor(self._readers, count)
        except _REFUSALS as refusal:
            return _refusal(refusal)
        return Response(count_codec.encode_count(number), media_type="application/json")

    async def _read_query(self, request: Request) -> tuple[str, Query]:
        source, path = _source(request), request.url.path
        async with self._body_reader.body(request) as body:
            return source, await decode_body(body, lambda: wire.decode_query(path, body))

    async def _answer(
        self, query: Query, source: str, parent: str, *, objects: bool
    ) -> AsyncGenerator[Lines, None]:
        """Yield the lines of the answer, those of a page at once."""
        outcome = "left"
        count, lines = 0, b""
        try:
            with tracing.detached_span("catalogue query", parent, level=query.scope):
                async with aclosing(self._pages(query, source, objects=objects)) as matches:
                    async for page in matches:
                        count += len(page)
                        lines = b"".join(map(wire.encode_match, page))
                        if page.is_last:
                            break
                        yield Lines(lines)
                        lines = b""
            outcome = "done"
            yield Lines(lines + wire.encode_end(count), is_last=True)
        except Failure as failure:
            outcome = "failed"
            yield Lines(wire.encode_error(failure), is_last=True)
        finally:
            metrics.catalogue_queries.labels(query.scope, outcome).inc()

    async def _pages(
        self, query: Query, source: str, *, objects: bool
    ) -> AsyncGenerator[Page[list[Element]] | Page[wire.EncodedLocated], None]:
        """Yield pages of matches; raises LimitExceeded beyond the largest number of matches."""
        engine = self._database.engine
        left = self._settings.maximum_matches
        timeout = self._settings.query_timeout
        find = located_pages if objects else pages
        async with aclosing(find(engine, query, source, self._readers, timeout)) as matches:
            async for page in matches:
                if len(page) <= left:
                    left -= len(page)
                    yield page
                else:
                    yield page.first(left)
                    sentence = f"More than {self._settings.maximum_matches} matches: narrow it."
                    raise LimitExceeded(sentence)


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
    return _problem(
        HTTPStatus.MISDIRECTED_REQUEST, "Events and queries are served over TLS, at another port."
    )


def _source(request: Request) -> str:
    source = request.query_params.get(wire.SOURCE, "")
    if not source or "\0" in source:
        raise ValueError("The provider is missing: send ?source=PROVIDER.")
    return source


def _refusal(refusal: Exception) -> Response:
    """Return the answer to a request that is refused, or can't be answered now."""
    if isinstance(refusal, BodyTooLong):
        return _problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(refusal))
    if isinstance(refusal, Failure):
        return _problem(HTTPStatus.SERVICE_UNAVAILABLE, refusal.comment)
    return _problem(HTTPStatus.BAD_REQUEST, str(refusal))


def _event_refusal(status: HTTPStatus, detail: str) -> Response:
    metrics.catalogue_events.labels("refused").inc()
    return _problem(status, detail)


def _problem(status: HTTPStatus, detail: str) -> Response:
    """Return problem details (RFC 9457); a 503 says after how long to retry."""
    return JSONResponse(
        {"title": detail, "status": int(status)},
        status_code=int(status),
        headers={"retry-after": "1"} if status == HTTPStatus.SERVICE_UNAVAILABLE else None,
        media_type="application/problem+json",
    )
