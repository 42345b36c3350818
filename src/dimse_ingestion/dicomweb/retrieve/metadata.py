"""Metadata of a study, a series or an instance (PS3.18 section 10.4.1.1.2), from the catalogue.

No object is read: the catalogue has every element, and large values are replaced by URLs. A
response that fits into memory has an entity tag, so that a repeated request is answered with 304; a
longer one is streamed.
"""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from functools import partial
from http import HTTPStatus

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from dimse_ingestion.dicom import uids
from dimse_ingestion.dicom.elements import element
from dimse_ingestion.dicom.query_levels import UNIQUE_KEYS
from dimse_ingestion.dicomweb.http.conditional import is_unchanged
from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.dicomweb.http.representations import DataSetFormat, data_set_format
from dimse_ingestion.dicomweb.http.urls import BASE_PATH, Resource, bulk_data, resource
from dimse_ingestion.dicomweb.middleware.compression import CompressionMiddleware
from dimse_ingestion.dicomweb.routing import ServiceContext
from dimse_ingestion.queries.contract import Located, Query

_MAX_BUFFERED = 16 * 2**20
_UNIQUE = [f"{UNIQUE_KEYS[level]:08X}" for level in ("STUDY", "SERIES", "IMAGE")]
_PATHS = (
    "/studies/{study}/metadata",
    "/studies/{study}/series/{series}/metadata",
    "/studies/{study}/series/{series}/instances/{instance}/metadata",
)


def routes(context: ServiceContext) -> Iterable[BaseRoute]:
    """Yield the routes of metadata."""

    async def answer(request: Request) -> Response:
        target = resource(request)
        form, base = data_set_format(request), context.urls.base(request)
        instances = context.backends.queries.objects(instances_query(target))
        return await _response(request, form, _encode(instances, form, base))

    compressing = [Middleware(CompressionMiddleware)]
    for path in _PATHS:
        yield Route(f"{BASE_PATH}{path}", answer, methods=["GET"], middleware=compressing)


def instances_query(target: Resource) -> Query:
    """Return the query for all instances of a study or series, or for a single one."""
    levels = {"STUDY": target.study, "SERIES": target.series, "IMAGE": target.instance}
    keys = [element(UNIQUE_KEYS[level], "UI", uid) for level, uid in levels.items() if uid]
    return Query(scope="IMAGE", keys=keys)


async def _encode(
    instances: AsyncGenerator[Located, None], form: DataSetFormat, base: str
) -> AsyncGenerator[tuple[bytes, str], None]:
    """Yield each instance's encoded metadata, and the text its entity tag is computed from."""
    async with aclosing(instances) as located:
        async for each in located:
            address = partial(bulk_data, base, _resource(each))
            encoded = await form.encode(each.elements, address)
            yield encoded, f"{base} {each.sha256} {each.transfer_syntax_uid}"


def _resource(instance: Located) -> Resource:
    values = {each.group + each.element: each.value for each in instance.elements}
    return Resource(*(uids.strip_padding(values.get(tag, "")) for tag in _UNIQUE))


async def _response(
    request: Request, form: DataSetFormat, encoded: AsyncGenerator[tuple[bytes, str], None]
) -> Response:
    buffered: list[bytes] = []
    tag = hashlib.sha256(form.media_type.partition(";")[0].encode())
    length = 0
    async for each, digest in encoded:
        buffered.append(each)
        tag.update(digest.encode())
        length += len(each)
        if length > _MAX_BUFFERED:
            return StreamingResponse(_stream(form, buffered, encoded), media_type=form.media_type)
    if not buffered:
        raise Problem(HTTPStatus.NOT_FOUND, "Nothing with these UIDs is stored here.")
    headers = {"etag": f'W/"{tag.hexdigest()[:32]}"', "cache-control": "private, no-cache"}
    if is_unchanged(request, headers["etag"]):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(form.body(buffered), headers=headers, media_type=form.media_type)


async def _stream(
    form: DataSetFormat, buffered: list[bytes], rest: AsyncGenerator[tuple[bytes, str], None]
) -> AsyncIterator[bytes]:
    async with aclosing(rest) as remaining:
        yield form.begin + form.between.join(buffered)
        buffered.clear()
        async for each, _ in remaining:
            yield form.between + each
        yield form.end
