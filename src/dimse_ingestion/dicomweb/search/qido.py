"""QIDO-RS (PS3.18 section 10.6): searches for studies, series and instances.

A search is the same catalogue query as a C-FIND, so both services find the same. This module sends
the queries of `search_request`, and streams a long answer.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlencode

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dimse_ingestion.dicomweb.audit import note_search
from dimse_ingestion.dicomweb.http.data_set_body import (
    AddressedDataSet,
    data_sets_body,
    no_bytes,
)
from dimse_ingestion.dicomweb.http.header_values import warning
from dimse_ingestion.dicomweb.http.multipart_writer import (
    StreamedResponse,
    prepend,
    read_beginning,
)
from dimse_ingestion.dicomweb.http.representations import DataSetFormat, data_set_format
from dimse_ingestion.dicomweb.http.urls import BASE_PATH, Resource, bulk_data, resource
from dimse_ingestion.dicomweb.middleware.compression import CompressionMiddleware
from dimse_ingestion.dicomweb.routing import ServiceContext
from dimse_ingestion.dicomweb.search.query_parameters import parse_search
from dimse_ingestion.dicomweb.search.search_request import (
    SearchRequest,
    matched_resource,
    returned_urls,
)

_MOST_BUFFERED = 2**20  # bytes of an answer that is sent whole
_PATHS = {
    "STUDY": ("/studies",),
    "SERIES": ("/series", "/studies/{study}/series"),
    "IMAGE": (
        "/instances",
        "/studies/{study}/instances",
        "/series/{series}/instances",
        "/studies/{study}/series/{series}/instances",
    ),
}
"""Level to the paths of its search resources (PS3.18 table 10.6.1-1)."""


@dataclass(slots=True)
class _End:
    """The resource of the last match of an answer, and whether there are more matches."""

    last: Resource = field(default_factory=Resource)
    has_more: bool = False


class _Answer(NamedTuple):
    """The beginning of a body, its rest (None if it is whole), and where the matches end."""

    beginning: list[bytes]
    rest: AsyncGenerator[bytes, None] | None
    end: _End


def routes(context: ServiceContext) -> Iterable[BaseRoute]:
    """Yield the routes of searches for studies, series and instances."""
    handlers = _SearchHandlers(context)
    for level, paths in _PATHS.items():
        for path in paths:
            yield Route(
                f"{BASE_PATH}{path}",
                handlers.handler(level),
                methods=["GET"],
                middleware=[Middleware(CompressionMiddleware)],
            )


class _SearchHandlers:
    def __init__(self, context: ServiceContext) -> None:
        self._context = context

    def handler(self, level: str) -> Callable[[Request], Awaitable[Response]]:
        """Return the request handler for the searches of a level."""

        async def answer(request: Request) -> Response:
            note_search(request)
            search_request = SearchRequest(
                level, resource(request), parse_search(level, request.query_params.multi_items())
            )
            return await self._answer(request, search_request)

        return answer

    async def _answer(self, request: Request, search_request: SearchRequest) -> Response:
        form = data_set_format(request)
        maximum = self._context.settings.maximum_matches
        requested = search_request.search.limit
        limit = maximum if requested is None else min(maximum, requested)
        begin = self._begin(search_request, limit, form, self._context.urls.base(request))
        if search_request.search.with_total:
            answer, total = await asyncio.gather(begin, self._total(search_request))
        else:
            answer, total = await begin, None
        if request.method == "HEAD" and answer.rest is not None:
            await answer.rest.aclose()
            answer = answer._replace(beginning=[], rest=no_bytes())
        response = _response(form, answer)
        for name, value in self._headers(request, search_request, limit, answer.end):
            response.headers.append(name, value)
        if total is not None:
            response.headers["x-total-count"] = str(total)
        return response

    def _headers(
        self, request: Request, search_request: SearchRequest, limit: int, end: "_End"
    ) -> Iterable[tuple[str, str]]:
        base = self._context.urls.base(request)
        for each in search_request.search.warnings:
            yield "warning", warning(base, each)
        if end.has_more:
            sentence = "There are additional results that can be requested."
            yield "warning", warning(base, sentence)
            parameters = search_request.next_page(end.last, limit)
            yield "link", _next_link(self._context.urls.root(request), request, parameters)

    async def _total(self, search_request: SearchRequest) -> int | None:
        return await self._context.backends.queries.count(search_request.count_query())

    async def _begin(
        self, search_request: SearchRequest, limit: int, form: DataSetFormat, base: str
    ) -> "_Answer":
        """Return the answer, of which a long one is sent later, in pieces.

        The headers say whether there are more matches, so those of a long answer are searched
        first. The query is sent again then: two queries at a time could wait for each other.
        """
        end = _End()
        if limit == 0:
            return _Answer([], None, end)
        body = data_sets_body(form, self._matches(search_request, limit, base, end))
        beginning, is_whole = await read_beginning(body, _MOST_BUFFERED)
        if is_whole:
            return _Answer(beginning, None, end)
        beginning.clear()
        await body.aclose()
        end = await self._end(search_request, limit)
        body = data_sets_body(form, self._matches(search_request, limit, base, _End()))
        beginning, _ = await read_beginning(body, 1)
        return _Answer(beginning, body, end)

    async def _matches(
        self, search_request: SearchRequest, limit: int, base: str, end: "_End"
    ) -> AsyncGenerator[AddressedDataSet, None]:
        """Yield at most `limit` matches, and record in `end` which is the last."""
        count = 0
        query = search_request.query(limit)
        async with aclosing(self._context.backends.queries.matches(query)) as matches:
            async for match in matches:
                if count == limit:
                    end.has_more = True
                    continue
                count += 1
                end.last = target = matched_resource(search_request.level, match)
                completed = [
                    *search_request.returned(match),
                    *returned_urls(search_request.level, f"{base}{target.path}"),
                ]
                del match  # a large one is in memory no longer than it is reserved
                yield completed, partial(bulk_data, base, target)
                del completed

    async def _end(self, search_request: SearchRequest, limit: int) -> "_End":
        """Search the last of `limit` matches and the one behind it."""
        query = search_request.end_query(limit)
        async with aclosing(self._context.backends.queries.matches(query)) as matches:
            found = [matched_resource(search_request.level, each) async for each in matches]
        return _End(found[0], len(found) > 1) if found else _End()


def _next_link(root: str, request: Request, parameters: Mapping[str, str]) -> str:
    """Return the Link to the next page: the request with other parameters (RFC 8288)."""
    replaced = {"offset", "after"}
    remaining = [each for each in request.query_params.multi_items() if each[0] not in replaced]
    query_string = urlencode([*remaining, *parameters.items()])
    return f'<{root}{request.url.path}?{query_string}>; rel="next"'


def _response(form: DataSetFormat, answer: _Answer) -> Response:
    if answer.rest is not None:
        body = prepend(answer.beginning, answer.rest)
        return StreamedResponse(body, HTTPStatus.OK, {}, form.media_type)
    if not answer.beginning:
        return Response(status_code=HTTPStatus.NO_CONTENT)
    return Response(b"".join(answer.beginning), media_type=form.media_type)
