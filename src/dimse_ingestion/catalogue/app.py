"""The catalogue's door: events in and queries out over HTTP, beside the probes.

Joins database, commits and answers; each of them is told in its own module.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from dimse_ingestion.catalogue import database
from dimse_ingestion.catalogue.answering import matches
from dimse_ingestion.catalogue.committing import Committing
from dimse_ingestion.catalogue.recording import record
from dimse_ingestion.dicom.failure import DimseFailure, OutOfResources
from dimse_ingestion.dicom.matching import criteria
from dimse_ingestion.events import cloudevents
from dimse_ingestion.observability import logging, metrics, probes, tracing
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.observability.serving import served
from dimse_ingestion.observability.stopping import stop_signal
from dimse_ingestion.queries import wire
from dimse_ingestion.queries.contract import Query
from dimse_ingestion.settings import CatalogueSettings, ConfigurationMistake

_LOG = logger(__name__)
_BETWEEN_TRIES = 1.0


async def run(settings: CatalogueSettings) -> int:
    """Serve until told to stop; the exit status."""
    logging.configure("catalogue", settings.log_level)
    tracing.configure("catalogue", settings.otlp_endpoint)
    with stop_signal() as told:
        async with opened(settings):
            await told.wait()
    tracing.shut_down()
    return 0


@asynccontextmanager
async def opened(settings: CatalogueSettings) -> AsyncIterator[int]:
    """The catalogue, serving within the block, whose value is its HTTP port.

    Raises ConfigurationMistake when the database's URL or the HTTP address can't be used.
    """
    engine = _engine(settings)
    door = Door(engine, settings)
    address = f"{settings.http_host}:{settings.http_port}"
    try:
        async with served(door.app, settings.http_host, settings.http_port) as port:
            tasks = [asyncio.create_task(each) for each in (door.migrate(), door.commit())]
            _LOG.info("Listening for events and queries.", port=port)
            try:
                yield port
            finally:
                door.health.drain()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
    except OSError as trouble:
        raise ConfigurationMistake(
            [f"DIMSE_HTTP_PORT: {address} can't be used: {trouble.strerror}."]
        ) from None
    finally:
        engine.dispose()


def _engine(settings: CatalogueSettings) -> Engine:
    url = settings.database_url.get_secret_value()
    try:
        return database.open_engine(url, settings.maximum_connections)
    except ValueError as wrong:
        raise ConfigurationMistake([str(wrong)]) from None


class Door:
    """The HTTP side; `migrate` and `commit` are to be run beside it."""

    def __init__(self, engine: Engine, settings: CatalogueSettings) -> None:
        self.health = probes.Health()
        self._engine = engine
        self._settings = settings
        self._unmigrated = "The database was not reached yet."
        self._committing = Committing(
            lambda events: record(engine, events, settings.duplicates), settings.commit_size
        )
        self.health.add("database", self._database_trouble)
        queries = [Route(path, self._query, methods=["POST"]) for path in wire.PATHS.values()]
        self.app = Starlette(
            routes=[
                Route("/events", self._event, methods=["POST"]),
                *queries,
                *probes.routes(self.health),
            ]
        )

    async def migrate(self) -> None:
        """Bring the schema up to date, trying until the database is there."""
        while self._unmigrated:
            try:
                await asyncio.to_thread(database.upgrade, self._engine)
                self._unmigrated = ""
            except DimseFailure as failure:
                self._unmigrated = failure.comment
                _LOG.warning("The database can't be used yet.", why=failure.comment)
                await asyncio.sleep(_BETWEEN_TRIES)

    async def commit(self) -> None:
        """Commit events until cancelled."""
        await self._committing.run()

    async def _database_trouble(self) -> str:
        if self._unmigrated:
            return self._unmigrated
        try:
            await asyncio.to_thread(database.check, self._engine)
        except DimseFailure as failure:
            return failure.comment
        return ""

    async def _event(self, request: Request) -> Response:
        """2xx only after the commit."""
        try:
            body = await _body(request, self._settings.maximum_event_length)
            event = cloudevents.decoded(request.headers, body)
        except ValueError as wrong:
            metrics.catalogue_events.labels("refused").inc()
            return _problem(400, str(wrong))
        try:
            self._check_migrated()
            with tracing.span("catalogue event", event.traceparent):
                outcome = await self._committing.committed(event)
        except DimseFailure as failure:
            metrics.catalogue_events.labels("failed").inc()
            return _problem(503, failure.comment)
        if isinstance(outcome, ValueError):
            metrics.catalogue_events.labels("refused").inc()
            return _problem(422, str(outcome))
        metrics.catalogue_events.labels(outcome).inc()
        return Response(status_code=202)

    def _check_migrated(self) -> None:
        if self._unmigrated:
            raise OutOfResources(self._unmigrated)

    async def _query(self, request: Request) -> Response:
        source = request.query_params.get(wire.SOURCE, "")
        if not source:
            return _problem(400, "Name the provider that is asked: ?source=PROVIDER.")
        try:
            body = await _body(request, self._settings.maximum_event_length)
            query = wire.decoded_query(request.url.path, body)
        except ValueError as wrong:
            return _problem(400, str(wrong))
        return StreamingResponse(self._answer(query, source), media_type=wire.MEDIA_TYPE)

    async def _answer(self, query: Query, source: str) -> AsyncIterator[bytes]:
        count = 0
        outcome = "left"
        try:
            self._check_migrated()
            criteria(query.keys)
            async for match in matches(self._engine, query, source):
                yield wire.encoded_match(match)
                count += 1
            yield wire.encoded_end(count)
            outcome = "done"
        except DimseFailure as failure:
            outcome = "failed"
            yield wire.encoded_error(failure)
        finally:
            metrics.catalogue_queries.labels(query.scope, outcome).inc()


async def _body(request: Request, longest: int) -> bytes:
    """The whole body; raises ValueError when it is longer than allowed."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > longest:
            raise ValueError(f"The body has more than {longest} bytes.")
    return bytes(body)


def _problem(status: int, detail: str) -> Response:
    return JSONResponse(
        {"title": detail, "status": status},
        status_code=status,
        media_type="application/problem+json",
    )
