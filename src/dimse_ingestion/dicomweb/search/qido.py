"""QIDO-RS (PS3.18 section 10.6): searches for studies, series and instances.

A search is the same catalogue query as a C-FIND, so both services find the same. This module sends
the query that `query_parameters` parsed, and completes each match with the fields of its level.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlencode

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dimse_ingestion.dicom import uids
from dimse_ingestion.dicom.elements import Element, by_tag, element
from dimse_ingestion.dicom.query_levels import (
    INSTANCE_AVAILABILITY,
    MODALITIES_IN_STUDY,
    UNIQUE_KEYS,
)
from dimse_ingestion.dicom.value_representations import vr_of
from dimse_ingestion.dicomweb.http.header_values import warning
from dimse_ingestion.dicomweb.http.representations import DataSetFormat, data_set_format
from dimse_ingestion.dicomweb.http.urls import BASE_PATH, Resource, bulk_data, resource
from dimse_ingestion.dicomweb.middleware.compression import CompressionMiddleware
from dimse_ingestion.dicomweb.routing import ServiceContext
from dimse_ingestion.dicomweb.search.query_parameters import Search, parse_search
from dimse_ingestion.queries.contract import Query

_CHARSET = 0x00080005
_RETRIEVE_URL = 0x00081190
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

_DEFAULT_FIELDS = {
    "STUDY": frozenset(
        # date, time, accession number, modalities, referring physician, time zone, description
        {0x00080020, 0x00080030, 0x00080050, 0x00080061, 0x00080090, 0x00080201, 0x00081030}
        # patient's name, ID, birth date, sex; instance UID, ID; numbers of series and instances
        | {0x00100010, 0x00100020, 0x00100030, 0x00100040}
        | {0x0020000D, 0x00200010, 0x00201206, 0x00201208}
    ),
    "SERIES": frozenset(
        # modality, time zone, description, instance UID, number, number of instances
        {0x00080060, 0x00080201, 0x0008103E, 0x0020000E, 0x00200011, 0x00201209}
        # performed procedure step, request attributes
        | {0x00400244, 0x00400245, 0x00400275}
    ),
    "IMAGE": frozenset(
        # SOP class and instance, time zone, number, frames, rows, columns, bits
        {0x00080016, 0x00080018, 0x00080201, 0x00200013}
        | {0x00280008, 0x00280010, 0x00280011, 0x00280100}
    ),
}
"""Level to the fields returned by default (PS3.18 tables 10.6.3-3 to 10.6.3-5)."""


@dataclass(frozen=True, slots=True)
class _SearchRequest:
    """A search and the study or series that its URL limits it to."""

    level: str
    within: Resource
    search: Search

    def returned_tags(self) -> frozenset[int]:
        """Return the tags to return: included ones and the defaults of levels not in the URL."""
        tags = _DEFAULT_FIELDS[self.level] | self.search.included
        if self.level != "STUDY" and not self.within.study:
            tags |= _DEFAULT_FIELDS["STUDY"]
        if self.level == "IMAGE" and not self.within.series:
            tags |= _DEFAULT_FIELDS["SERIES"]
        return tags

    def returned(self, match: Iterable[Element]) -> Iterable[Element]:
        """Yield the elements of a match to return; the catalogue adds every unique key.

        Modalities in Study is left out where it has no value (type 1C in PS3.18 table 10.6.3-3):
        viewers read it as a list of values wherever it is present.
        """
        keys = {each.tag for each in self.search.keys}
        returned = self.returned_tags() | keys | {UNIQUE_KEYS[level] for level in _PATHS}
        for each in match:
            if each.tag == MODALITIES_IN_STUDY and not each.value:
                continue
            if (
                each.tag in returned
                or self.search.all_fields
                or (each.value and each.tag == _CHARSET)
            ):
                yield each

    def query(self, limit: int) -> Query:
        """Return the catalogue query; one match more than `limit` shows that there are more."""
        keys = {each.tag: each for each in (*self.search.keys, *_unique_keys(self.within))}
        for tag in self.returned_tags():
            keys.setdefault(tag, element(tag, vr_of(tag)))
        return Query(
            scope=self.level,
            keys=list(keys.values()),
            limit=limit + 1,
            offset=self.search.offset,
            all_keys=self.search.all_fields,
            newest_first=self.level == "STUDY",
            after=self.search.after,
        )

    def count_query(self) -> Query:
        """Return the query for the number of all matching studies."""
        keys = [each for each in self.search.keys if each.value or each.items]
        return Query(scope=self.level, keys=keys)

    def next_page(self, last: Resource, count: int) -> dict[str, str]:
        """Return the parameters of the page behind `last`, the last of `count` matches."""
        if self.level == "STUDY":
            return {"after": last.study}
        return {"offset": str(self.search.offset + count)}


class _EncodedMatch(NamedTuple):
    """A match in the format of the response, and the resource it is about."""

    resource: Resource
    encoded: bytes


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
            search_request = _SearchRequest(
                level, resource(request), parse_search(level, request.query_params.multi_items())
            )
            return await self._answer(request, search_request)

        return answer

    async def _answer(self, request: Request, search_request: _SearchRequest) -> Response:
        form = data_set_format(request)
        base = self._context.urls.base(request)
        maximum = self._context.settings.maximum_matches
        requested = search_request.search.limit
        limit = maximum if requested is None else min(maximum, requested)
        matches, total = await asyncio.gather(
            self._matches(search_request, limit, form, base), self._total(search_request)
        )
        headers = [("warning", warning(base, each)) for each in search_request.search.warnings]
        if len(matches) > limit:
            sentence = "There are additional results that can be requested."
            headers.append(("warning", warning(base, sentence)))
            parameters = search_request.next_page(matches[limit - 1].resource, limit)
            headers.append(
                ("link", _next_link(self._context.urls.root(request), request, parameters))
            )
        if total is not None:
            headers.append(("x-total-count", str(total)))
        return _response(form, [each.encoded for each in matches[:limit]], headers)

    async def _total(self, search_request: _SearchRequest) -> int | None:
        if not search_request.search.with_total:
            return None
        return await self._context.backends.queries.count(search_request.count_query())

    async def _matches(
        self, search_request: _SearchRequest, limit: int, form: DataSetFormat, base: str
    ) -> list[_EncodedMatch]:
        """Return the encoded matches; one more than `limit` when there are more."""
        encoded: list[_EncodedMatch] = []
        if limit == 0:
            return encoded
        async with aclosing(
            self._context.backends.queries.matches(search_request.query(limit))
        ) as matches:
            async for match in matches:
                target = _resource(search_request.level, match)
                completed = [
                    *search_request.returned(match),
                    *_returned_urls(search_request.level, f"{base}{target.path}"),
                ]
                content = form.encoded(completed, partial(bulk_data, base, target))
                encoded.append(_EncodedMatch(target, content))
        return encoded


def _next_link(root: str, request: Request, parameters: Mapping[str, str]) -> str:
    """Return the Link to the next page: the request with other parameters (RFC 8288)."""
    replaced = {"offset", "after"}
    remaining = [each for each in request.query_params.multi_items() if each[0] not in replaced]
    query_string = urlencode([*remaining, *parameters.items()])
    return f'<{root}{request.url.path}?{query_string}>; rel="next"'


def _response(
    form: DataSetFormat, encoded: Sequence[bytes], headers: Iterable[tuple[str, str]]
) -> Response:
    if not encoded:
        response = Response(status_code=HTTPStatus.NO_CONTENT)
    else:
        response = Response(form.body(encoded), media_type=form.media_type)
    for name, value in headers:
        response.headers.append(name, value)
    return response


def _unique_keys(within: Resource) -> Iterable[Element]:
    """Return the keys that the URL gives."""
    levels = (("STUDY", within.study), ("SERIES", within.series))
    return (element(UNIQUE_KEYS[level], "UI", uid) for level, uid in levels if uid)


def _resource(level: str, match: Iterable[Element]) -> Resource:
    """Return the resource of a match."""
    elements_by_tag = by_tag(match)
    levels = ("STUDY", "SERIES", "IMAGE")
    known = [elements_by_tag.get(UNIQUE_KEYS[each]) for each in levels[: levels.index(level) + 1]]
    return Resource(*(uids.strip_padding(each.value) if each else "" for each in known))


def _returned_urls(level: str, url: str) -> Iterable[Element]:
    yield element(_RETRIEVE_URL, "UR", url)
    if level != "SERIES":
        yield element(INSTANCE_AVAILABILITY, "CS", "ONLINE")
