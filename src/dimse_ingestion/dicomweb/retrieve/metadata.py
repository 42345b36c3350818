"""Metadata of a study, a series or an instance (PS3.18 section 10.4.1.1.2), from the catalogue.

No object is read: the catalogue has every element, and large values are replaced by URLs. The
catalogue computes a digest of a study's or series' objects first, so that a response has an entity
tag before its first instance is encoded. A short response is sent whole, a longer one streamed.
"""

import hashlib
from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack, aclosing
from functools import partial
from http import HTTPStatus

import msgspec
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dimse_ingestion.dicom import uids
from dimse_ingestion.dicom.elements import element
from dimse_ingestion.dicom.query_levels import UNIQUE_KEYS
from dimse_ingestion.dicomweb.audit import note_access
from dimse_ingestion.dicomweb.http.conditional import is_unchanged
from dimse_ingestion.dicomweb.http.data_set_body import (
    AddressedDataSet,
    data_sets_body,
    no_bytes,
)
from dimse_ingestion.dicomweb.http.multipart_writer import (
    StreamedResponse,
    prepend,
    read_beginning,
)
from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.dicomweb.http.representations import DataSetFormat, data_set_format
from dimse_ingestion.dicomweb.http.urls import BASE_PATH, Resource, bulk_data, resource
from dimse_ingestion.dicomweb.middleware.compression import CompressionMiddleware
from dimse_ingestion.dicomweb.routing import ServiceContext
from dimse_ingestion.queries.contract import Located, Query

_MOST_BUFFERED = 2**16  # bytes of a response that is sent whole
_UNIQUE = [f"{UNIQUE_KEYS[level]:08X}" for level in ("STUDY", "SERIES", "IMAGE")]
_PATHS = (
    "/studies/{study}/metadata",
    "/studies/{study}/series/{series}/metadata",
    "/studies/{study}/series/{series}/instances/{instance}/metadata",
)


def routes(context: ServiceContext) -> Iterable[BaseRoute]:
    """Yield the routes of metadata."""
    handlers = _Metadata(context)
    compressing = [Middleware(CompressionMiddleware)]
    for path in _PATHS:
        handler = handlers.of_instance if "{instance}" in path else handlers.of_instances
        yield Route(f"{BASE_PATH}{path}", handler, methods=["GET"], middleware=compressing)


class _Metadata:
    """Request handlers for metadata."""

    def __init__(self, context: ServiceContext) -> None:
        self._queries = context.backends.queries
        self._urls = context.urls

    async def of_instance(self, request: Request) -> Response:
        """Return the metadata of one instance."""
        form, base = data_set_format(request), self._urls.base(request)
        query = msgspec.structs.replace(instances_query(resource(request)), limit=1)
        async with AsyncExitStack() as stack:
            found = await stack.enter_async_context(aclosing(self._queries.objects(query)))
            first = await anext(found, None)
            if first is None:
                raise _nothing_stored()
            headers = _headers(form, base, f"{first.sha256} {first.transfer_syntax_uid}")
            if is_unchanged(request, headers["etag"]):
                return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
            stack.pop_all()  # the body closes it
            addressed = _addressed(request, _and_rest(first, found), base)
            return await _response(request, form, headers, addressed)

    async def of_instances(self, request: Request) -> Response:
        """Return the metadata of a study's or a series' instances."""
        form, base = data_set_format(request), self._urls.base(request)
        query = instances_query(resource(request))
        summary = await self._queries.digest(query)
        if not summary.count:
            raise _nothing_stored()
        headers = _headers(form, base, summary.digest)
        if is_unchanged(request, headers["etag"]):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        if request.method == "HEAD":
            return StreamedResponse(no_bytes(), HTTPStatus.OK, headers, form.media_type)
        located = self._queries.objects(query)
        return await _response(request, form, headers, _addressed(request, located, base))


def instances_query(target: Resource) -> Query:
    """Return the query for all instances of a study or series, or for a single one."""
    levels = {"STUDY": target.study, "SERIES": target.series, "IMAGE": target.instance}
    keys = [element(UNIQUE_KEYS[level], "UI", uid) for level, uid in levels.items() if uid]
    return Query(scope="IMAGE", keys=keys)


async def _and_rest(
    first: Located, rest: AsyncGenerator[Located, None]
) -> AsyncGenerator[Located, None]:
    """Yield all instances; the answer is read to its end, so that its connection stays open."""
    async with aclosing(rest):
        yield first
        del first  # a large one is in memory no longer than it is reserved
        async for each in rest:
            yield each


async def _addressed(
    request: Request, located: AsyncGenerator[Located, None], base: str
) -> AsyncGenerator[AddressedDataSet, None]:
    async with aclosing(located):
        async for each in located:
            note_access(request, [each.elements])
            yield each.elements, partial(bulk_data, base, _resource(each))
            del each


def _resource(instance: Located) -> Resource:
    values = {each.group + each.element: each.value for each in instance.elements}
    return Resource(*(uids.strip_padding(values.get(tag, "")) for tag in _UNIQUE))


def _headers(form: DataSetFormat, base: str, digest: str) -> dict[str, str]:
    """Return the headers of a response; `digest` changes with an instance's object."""
    content = f"{form.media_type.partition(';')[0]} {base} {digest}"
    tag = hashlib.sha256(content.encode()).hexdigest()[:32]
    return {"etag": f'W/"{tag}"', "cache-control": "private, no-cache"}


def _nothing_stored() -> Problem:
    return Problem(HTTPStatus.NOT_FOUND, "Nothing with these UIDs is stored here.")


async def _response(
    request: Request,
    form: DataSetFormat,
    headers: dict[str, str],
    data_sets: AsyncGenerator[AddressedDataSet, None],
) -> Response:
    body = data_sets_body(form, data_sets)
    beginning, is_whole = await read_beginning(body, _MOST_BUFFERED)
    if is_whole:
        content = b"".join(beginning) or form.body([])
        return Response(content, headers=headers, media_type=form.media_type)
    if request.method == "HEAD":
        await body.aclose()
        return StreamedResponse(no_bytes(), HTTPStatus.OK, headers, form.media_type)
    return StreamedResponse(prepend(beginning, body), HTTPStatus.OK, headers, form.media_type)
