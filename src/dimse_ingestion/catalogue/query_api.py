"""HTTP API of queries: matches, their number, digests of objects, and names without an entry.

The answer to a query for matches is streamed unless it is short, and its last line says how it
ended. Events and probes are in `http_api`.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from functools import partial
from typing import TypeVar

from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import Response

from dimse_ingestion.catalogue import known_objects
from dimse_ingestion.catalogue.answer_memory import AnswerMemory
from dimse_ingestion.catalogue.problems import REFUSALS, refusal_response
from dimse_ingestion.catalogue.query import Page, count_matches, located_pages, pages
from dimse_ingestion.catalogue.query_response import Lines, query_response
from dimse_ingestion.catalogue.request_body import BodyReader, decode_body
from dimse_ingestion.catalogue.rotating import RotatingDatabase
from dimse_ingestion.catalogue.summary import digest_objects
from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.failures import Failure, LimitExceeded
from dimse_ingestion.observability import metrics, tracing
from dimse_ingestion.queries import summary_codec, wire
from dimse_ingestion.queries.contract import Query
from dimse_ingestion.settings import CatalogueSettings

_RESERVED_CONNECTIONS = 2  # connections not for queries: the commit and the probe
_MOST_COUNTED = 1000  # rows that are decoded to count matches
_LONGEST_PIECE = 256 * 1024  # bytes that are sent at once
_Summary = TypeVar("_Summary")


class QueryApi:
    """Handlers of queries; pages of matches are fetched in threads."""

    def __init__(
        self, database: RotatingDatabase, settings: CatalogueSettings, body_reader: BodyReader
    ) -> None:
        self._database = database
        self._settings = settings
        self._body_reader = body_reader
        readers = max(1, settings.maximum_connections - _RESERVED_CONNECTIONS)
        self._readers = ThreadPoolExecutor(readers, "query")
        self._memory = AnswerMemory(settings.query_timeout)

    def handlers(self) -> Mapping[str, Callable[[Request], Awaitable[Response]]]:
        """Return the handlers of POST requests by their paths."""
        handlers = dict.fromkeys((*wire.PATHS.values(), wire.OBJECTS), self._query)
        return handlers | {
            wire.COUNT: self._count,
            wire.DIGEST: self._digest,
            wire.MISSING: self._missing_objects,
        }

    def close(self) -> None:
        """End the threads."""
        self._readers.shutdown(wait=False, cancel_futures=True)

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
        except REFUSALS as refusal:
            return refusal_response(refusal)
        answer = wire.encode_names(wire.ObjectNames(bucket_name, missing))
        return Response(answer, media_type="application/json")

    async def _query(self, request: Request) -> Response:
        """Answer a query by its matches."""
        try:
            source, query = await self._read_query(request)
        except REFUSALS as refusal:
            return refusal_response(refusal)
        parent = request.headers.get(tracing.TRACEPARENT, "")
        answer = self._answer(query, source, parent, objects=request.url.path == wire.OBJECTS)
        return await query_response(answer, wire.MEDIA_TYPE)

    async def _count(self, request: Request) -> Response:
        """Answer the number of matches, if it is known without decoding very many rows."""
        return await self._summary(
            request, partial(count_matches, most=_MOST_COUNTED), summary_codec.encode_count
        )

    async def _digest(self, request: Request) -> Response:
        """Answer the digest of instances that UIDs name."""
        return await self._summary(request, digest_objects, summary_codec.encode_digest)

    async def _summary(
        self,
        request: Request,
        summarize: Callable[[Engine, Query, str, float], _Summary],
        encode: Callable[[_Summary], bytes],
    ) -> Response:
        timeout = self._settings.query_timeout
        loop = asyncio.get_running_loop()
        try:
            source, query = await self._read_query(request)
            engine = self._database.engine
            summary = await loop.run_in_executor(
                self._readers, summarize, engine, query, source, timeout
            )
        except REFUSALS as refusal:
            return refusal_response(refusal)
        return Response(encode(summary), media_type="application/json")

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
                        is_last = page.is_last
                        lines = b"".join(map(wire.encode_match, page))
                        page.clear()  # a long match is in memory only once while it is sent
                        if is_last and len(lines) <= _LONGEST_PIECE:
                            break
                        for start in range(0, len(lines), _LONGEST_PIECE):
                            yield Lines(lines[start : start + _LONGEST_PIECE])
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
        async with aclosing(
            find(engine, query, source, self._readers, timeout, self._memory)
        ) as matches:
            async for page in matches:
                if len(page) <= left:
                    left -= len(page)
                    yield page
                else:
                    yield page.first(left)
                    sentence = f"More than {self._settings.maximum_matches} matches: narrow it."
                    raise LimitExceeded(sentence)


def _source(request: Request) -> str:
    source = request.query_params.get(wire.SOURCE, "")
    if not source or "\0" in source:
        raise ValueError("The provider is missing: send ?source=PROVIDER.")
    return source
