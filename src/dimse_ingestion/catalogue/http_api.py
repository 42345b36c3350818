"""What the catalogue answers over HTTP: events, queries, probes.

An event's 2xx means committed. A query's answer is streamed, and its last line says how it ended.
Which address it listens at is `app`'s matter.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import TypeVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from dimse_ingestion.catalogue import database, known_objects
from dimse_ingestion.catalogue.group_commit import GroupCommit
from dimse_ingestion.catalogue.query import located_pages, pages
from dimse_ingestion.catalogue.record import record
from dimse_ingestion.catalogue.request_body import BodyReader, BodyTooLong
from dimse_ingestion.catalogue.rotating import RotatingDatabase
from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.dicom.failure import DimseFailure, OutOfResources
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.events import cloudevents
from dimse_ingestion.observability import metrics, probes, tracing
from dimse_ingestion.queries import wire
from dimse_ingestion.queries.contract import Located, Query
from dimse_ingestion.secure_http.bearer import RequireToken
from dimse_ingestion.secure_http.mounted_value import MountedValue
from dimse_ingestion.settings import CatalogueSettings, MountedMissing

_BETWEEN_TRIES = 1.0
_BETWEEN_LOOKS = 5.0  # seconds until a rotated password is seen
_OTHERS = 2  # connections for what is no query: the commit and the probe
_UNAVAILABLE = 503
_DECODED_AT_ONCE = 256 * 1024  # bytes, some milliseconds
_REFUSALS = (BodyTooLong, ValueError, DimseFailure)
_Decoded = TypeVar("_Decoded")


class HttpApi:
    """The HTTP side; `follow` and `commit` are to be run beside it."""

    def __init__(self, following: RotatingDatabase, settings: CatalogueSettings) -> None:
        self.health = probes.Health("catalogue")
        self._database = following
        self._settings = settings
        self._committing = GroupCommit(
            lambda events: record(following.engine, events, settings.duplicates),
            settings.commit_size,
        )
        self._bodies = BodyReader(settings.maximum_event_length)
        readers = max(1, settings.maximum_connections - _OTHERS)
        self._readers = ThreadPoolExecutor(readers, "query")
        self.health.add("database", self._database_trouble)
        probed = probes.routes(self.health)
        self.api = Starlette(routes=[*probed, Mount("/", self._guarded())])
        """Events and queries for who has the token, beside the probes for everybody."""
        elsewhere = [
            Route(path, _wrong_port, methods=["POST", "OPTIONS"])
            for path in ("/events", "/query/{level}")
        ]
        self.probes = Starlette(routes=[*probed, *elsewhere])
        """The probes alone, where events and queries have a port of their own."""

    def _guarded(self) -> ASGIApp:
        paths = [*wire.PATHS.values(), wire.OBJECTS]
        queries = [Route(path, self._query, methods=["POST"]) for path in paths]
        queries.append(Route(wire.MISSING, self._missing_objects, methods=["POST"]))
        events = Route("/events", self._event, methods=["POST"])
        app = Starlette(routes=[events, *queries])
        access = self._settings.access
        if not access.token:
            return app
        tokens = MountedValue(access.read_tokens)
        self.health.add("token", lambda: _missing(tokens))
        return RequireToken(app, tokens)

    async def follow(self) -> None:
        """Have the database that is mounted in use, with its schema up to date, until cancelled."""
        while True:
            in_use = await asyncio.to_thread(self._database.look)
            await asyncio.sleep(_BETWEEN_LOOKS if in_use else _BETWEEN_TRIES)

    async def commit(self) -> None:
        """Commit events until cancelled."""
        await self._committing.run()

    def close(self) -> None:
        """Let go of threads."""
        self._readers.shutdown(wait=False, cancel_futures=True)

    async def _database_trouble(self) -> str:
        if trouble := self._database.trouble or self._committing.trouble:
            return trouble
        try:
            await asyncio.to_thread(database.check, self._database.engine)
        except DimseFailure as failure:
            return failure.comment
        return ""

    async def _event(self, request: Request) -> Response:
        """2xx only after the commit."""
        try:
            async with self._bodies.body(request) as body:
                event = await _decode(body, lambda: cloudevents.decode(request.headers, body))
                self._check_database()
                with tracing.span("catalogue event", event.traceparent):
                    outcome = await self._committing.submit(event)
        except BodyTooLong as wrong:
            return _refused(413, str(wrong))
        except ValueError as wrong:
            return _refused(400, str(wrong))
        except DimseFailure as failure:
            metrics.catalogue_events.labels("failed").inc()
            return _problem(_UNAVAILABLE, failure.comment)
        if isinstance(outcome, ValueError):
            return _refused(422, str(outcome))
        metrics.catalogue_events.labels(outcome).inc()
        return Response(status_code=202)

    def _check_database(self) -> None:
        if self._database.trouble:
            raise OutOfResources(self._database.trouble)

    async def _missing_objects(self, request: Request) -> Response:
        """Answer which of some objects have no entry."""
        try:
            source = _source(request)
            async with self._bodies.body(request) as body:
                names = await _decode(body, lambda: wire.decode_names(body))
            asked = self._database.engine, source, names.bucket_name, names.object_names
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self._readers, known_objects.missing, *asked)
        except _REFUSALS as refusal:
            return _not_answered(refusal)
        answer = wire.encode_names(wire.ObjectNames(names.bucket_name, found))
        return Response(answer, media_type="application/json")

    async def _query(self, request: Request) -> Response:
        try:
            source = _source(request)
            async with self._bodies.body(request) as body:
                query = await _decode(body, lambda: wire.decode_query(request.url.path, body))
        except _REFUSALS as refusal:
            return _not_answered(refusal)
        lines = self._answer(query, source, objects=request.url.path == wire.OBJECTS)
        return StreamingResponse(lines, media_type=wire.MEDIA_TYPE)

    async def _answer(self, query: Query, source: str, *, objects: bool) -> AsyncIterator[bytes]:
        """The answer's lines, those of a page at once."""
        outcome = "left"
        count = 0
        try:
            async with aclosing(self._pages(query, source, objects=objects)) as found:
                async for page in found:
                    count += len(page)
                    yield b"".join(map(wire.encode_match, page))
            outcome = "done"
            yield wire.encode_end(count)
        except DimseFailure as failure:
            outcome = "failed"
            yield wire.encode_error(failure)
        finally:
            metrics.catalogue_queries.labels(query.scope, outcome).inc()

    async def _pages(
        self, query: Query, source: str, *, objects: bool
    ) -> AsyncGenerator[Sequence[list[Element] | Located], None]:
        """As `answering` finds them; raises A700 after the most matches there may be."""
        engine = self._database.engine
        left = self._settings.maximum_matches
        timeout = self._settings.query_timeout
        asked = located_pages if objects else pages
        async with aclosing(asked(engine, query, source, self._readers, timeout)) as found:
            async for page in found:
                yield page[:left]
                left -= len(page)
                if left < 0:
                    sentence = f"More than {self._settings.maximum_matches} matches: narrow it."
                    raise DimseFailure(Status.OUT_OF_RESOURCES, sentence)


def _missing(tokens: MountedValue[tuple[str, ...]]) -> str:
    try:
        tokens.value()
    except MountedMissing as missing:
        return str(missing)
    return ""


async def _wrong_port(_: Request) -> Response:
    """Tell a client that came to the port of the probes (RFC 9110 15.5.20)."""
    return _problem(421, "Events and queries are served over TLS, at another port.")


async def _decode(body: bytes, decode: Callable[[], _Decoded]) -> _Decoded:
    """Return what `decode` does; a long body is decoded beside the loop."""
    return decode() if len(body) <= _DECODED_AT_ONCE else await asyncio.to_thread(decode)


def _source(request: Request) -> str:
    source = request.query_params.get(wire.SOURCE, "")
    if not source or "\0" in source:
        raise ValueError("Name the provider that is asked: ?source=PROVIDER.")
    return source


def _not_answered(refusal: Exception) -> Response:
    """Return the answer to a question that is refused, or can't be answered now."""
    if isinstance(refusal, BodyTooLong):
        return _problem(413, str(refusal))
    if isinstance(refusal, DimseFailure):
        return _problem(_UNAVAILABLE, refusal.comment)
    return _problem(400, str(refusal))


def _refused(status: int, detail: str) -> Response:
    metrics.catalogue_events.labels("refused").inc()
    return _problem(status, detail)


def _problem(status: int, detail: str) -> Response:
    """RFC 9457; what may succeed later says when to ask again."""
    return JSONResponse(
        {"title": detail, "status": status},
        status_code=status,
        headers={"retry-after": "1"} if status == _UNAVAILABLE else None,
        media_type="application/problem+json",
    )
