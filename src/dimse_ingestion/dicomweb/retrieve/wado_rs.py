"""WADO-RS of whole instances (PS3.18 section 10.4): a study, a series or a single one, streamed.

Instances are returned as stored, byte for byte, by default. Instances of a study that can't be
returned are left out and the status is 206 (table 10.4.3-1). When an object is found missing after
the status was sent, the response is aborted, and the next request gets 206. Other resources of
instances (frames, bulk data, rendered) have their own modules.
"""

from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dimse_ingestion.dicomweb.audit import is_audited, noted_sending
from dimse_ingestion.dicomweb.http.conditional import is_unchanged
from dimse_ingestion.dicomweb.http.content_negotiation import accepted_types, choose_offer
from dimse_ingestion.dicomweb.http.media_types import (
    DICOM,
    MULTIPART,
    offered_syntax,
    wanted_syntaxes,
)
from dimse_ingestion.dicomweb.http.multipart_writer import (
    IncompleteResponse,
    Part,
    ResponseHead,
    multipart_response,
    single_part_response,
)
from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.dicomweb.http.urls import BASE_PATH, resource
from dimse_ingestion.dicomweb.retrieve import bulk_data, frames, origin, rendered, wado_uri
from dimse_ingestion.dicomweb.retrieve.context import (
    RetrieveContext,
    caching_headers,
    entity_tag,
    object_missing_problem,
    open_context,
    resource_of,
)
from dimse_ingestion.dicomweb.retrieve.instance import instance_response
from dimse_ingestion.dicomweb.retrieve.transcoding import transcode, untranscodable_reason
from dimse_ingestion.dicomweb.routing import ServiceContext
from dimse_ingestion.operations.retrieve import ObjectMissing, RetrievedObject, object_size
from dimse_ingestion.queries.contract import Located

_OFFER = f'{MULTIPART}; type="{DICOM}"'
_STUDY = f"{BASE_PATH}/studies/{{study}}"
_SERIES = f"{_STUDY}/series/{{series}}"
_INSTANCE = f"{_SERIES}/instances/{{instance}}"
_PARTIAL_WARNING = {
    "warning": '299 dicomweb "Some instances could not be returned and are left out."'
}
_MAX_REMEMBERED = 1000


def routes(context: ServiceContext) -> Iterable[BaseRoute]:
    """Yield the routes of instances and of the resources within them."""
    retrieve_context = open_context(context)
    handlers = WholeInstances(retrieve_context)
    for path in (_STUDY, _SERIES):
        yield Route(path, handlers.study_or_series, methods=["GET"])
    yield Route(_INSTANCE, handlers.instance, methods=["GET"])
    for service in (frames, bulk_data, rendered, origin, wado_uri):
        yield from service.routes(retrieve_context)


class WholeInstances:
    """Request handlers for whole instances."""

    def __init__(self, context: RetrieveContext) -> None:
        self._context = context
        self._incomplete: OrderedDict[str, None] = OrderedDict()

    async def study_or_series(self, request: Request) -> Response:
        """Return the instances of a study or a series as multipart."""
        target = resource(request)
        syntaxes = wanted_syntaxes(choose_offer(accepted_types(request), [_OFFER]).ranges)
        located = self._context.retriever.instances(
            target.study, target.series, locations_only=_needs_no_elements(request, syntaxes)
        )
        is_partial = target.path in self._incomplete
        if "*" not in syntaxes:
            is_partial |= await self._is_partial(target.study, target.series, syntaxes)
            located = _only_acceptable(located, syntaxes)
        if request.method == "HEAD":
            return await self._head(request, located)
        objects = self._context.retriever.objects(located)
        first = await _first_present(objects)
        is_partial |= first.missing > 0
        answer = (
            ResponseHead(HTTPStatus.PARTIAL_CONTENT, _PARTIAL_WARNING)
            if is_partial
            else ResponseHead()
        )
        parts = self._parts(request, first, objects, syntaxes, answer)
        try:
            return await multipart_response(request, parts, DICOM, answer)
        except BaseException:
            await objects.aclose()
            raise

    async def instance(self, request: Request) -> Response:
        """Return one instance, as multipart of one part or as the body itself."""
        target = resource(request)
        choice = choose_offer(accepted_types(request), [_OFFER, DICOM])
        syntaxes = wanted_syntaxes(choice.ranges)
        instance = await self._context.instance(
            target, locations_only=_needs_no_elements(request, syntaxes)
        )
        if (syntax := _acceptable_syntax(instance, syntaxes)) is None:
            raise Problem(HTTPStatus.NOT_ACCEPTABLE, _not_acceptable_reason(instance, syntaxes))
        is_stored = syntax == instance.transfer_syntax_uid
        headers = caching_headers(entity_tag(instance, *([] if is_stored else ["explicit"])))
        if is_unchanged(request, headers["etag"]):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=dict(headers))
        try:
            if choice.offer == DICOM:
                return await instance_response(self._context, request, instance, syntax)
            stored = self._stored_object(instance)
            part = self._part(request, self._context.urls.base(request), instance, syntax, stored)
            return await single_part_response(request, part, DICOM, ResponseHead(headers=headers))
        except ObjectMissing as missing:
            raise object_missing_problem(missing) from None

    def _stored_object(self, instance: Located) -> AsyncGenerator[bytes, None]:
        return self._context.retriever.object_range(instance, 0, object_size(instance))

    async def _head(self, request: Request, located: AsyncGenerator[Located, None]) -> Response:
        async with aclosing(located):
            if await anext(located, None) is None:
                raise _nothing_stored()
        return await multipart_response(request, _no_parts(), DICOM, ResponseHead())

    async def _is_partial(self, study: str, series: str, syntaxes: Sequence[str]) -> bool:
        """Tell whether some instances can't be returned; raises Problem 406 when none can."""
        number = acceptable = 0
        reason = ""
        async with aclosing(self._context.retriever.instances(study, series)) as instances:
            async for each in instances:
                number += 1
                if _acceptable_syntax(each, syntaxes) is None:
                    reason = _not_acceptable_reason(each, syntaxes)
                else:
                    acceptable += 1
        if number and not acceptable:
            raise Problem(HTTPStatus.NOT_ACCEPTABLE, reason)
        return acceptable < number

    async def _parts(
        self,
        request: Request,
        first: RetrievedObject,
        rest: AsyncGenerator[RetrievedObject, None],
        syntaxes: Sequence[str],
        answer: ResponseHead,
    ) -> AsyncGenerator[Part, None]:
        missing = 0
        base = self._context.urls.base(request)
        async with aclosing(rest):
            async for each in _prepend(first, rest):
                syntax = _acceptable_syntax(each.located, syntaxes)
                if each.chunks is None or syntax is None:
                    missing += 1
                else:
                    yield self._part(request, base, each.located, syntax, each.chunks)
        if missing and answer.status == HTTPStatus.OK:
            self._remember_incomplete(resource(request).path)
            raise IncompleteResponse(
                f"{missing} objects are missing in the bucket: the next request gets 206."
            )

    def _part(
        self,
        request: Request,
        base: str,
        instance: Located,
        syntax: str,
        chunks: AsyncGenerator[bytes, None],
    ) -> Part:
        location = f"{base}{resource_of(instance).path}"
        if syntax != instance.transfer_syntax_uid:
            chunks = transcode(self._context, instance, chunks)
        chunks = noted_sending(request, instance.elements, chunks)
        return Part(f"{DICOM}; transfer-syntax={syntax}", chunks, location)

    def _remember_incomplete(self, path: str) -> None:
        self._incomplete[path] = None
        while len(self._incomplete) > _MAX_REMEMBERED:
            self._incomplete.popitem(last=False)


def _needs_no_elements(request: Request, syntaxes: Sequence[str]) -> bool:
    """Return whether instances are returned as they are stored, and no audit trail names them."""
    return syntaxes[0] == "*" and not is_audited(request)


def _acceptable_syntax(instance: Located, target: Sequence[str]) -> str | None:
    """Return the transfer syntax to return an instance in, or None when there is none."""
    syntax = offered_syntax(target, instance.transfer_syntax_uid)
    return (
        None
        if syntax != instance.transfer_syntax_uid and untranscodable_reason(instance)
        else syntax
    )


def _not_acceptable_reason(instance: Located, target: Sequence[str]) -> str:
    if offered_syntax(target, instance.transfer_syntax_uid) is not None:
        return untranscodable_reason(instance)
    return (
        f"It is stored in transfer syntax {instance.transfer_syntax_uid}: request that one "
        "(transfer-syntax=*) or 1.2.840.10008.1.2.1."
    )


async def _only_acceptable(
    located: AsyncGenerator[Located, None], syntaxes: Sequence[str]
) -> AsyncGenerator[Located, None]:
    """Yield the instances that can be returned."""
    async with aclosing(located):
        async for each in located:
            if _acceptable_syntax(each, syntaxes) is not None:
                yield each


async def _first_present(objects: AsyncGenerator[RetrievedObject, None]) -> RetrievedObject:
    """Return the first object that exists; raises Problem 404 or 410 when none does."""
    skipped = 0
    async for each in objects:
        if each.chunks is not None:
            return replace(each, missing=max(skipped, each.missing))
        skipped += 1
    if skipped:
        raise Problem(
            HTTPStatus.GONE,
            "The catalogue knows these instances, but none of their objects is in the bucket: "
            "restore them there, or rebuild the catalogue from the bucket.",
        )
    raise _nothing_stored()


def _nothing_stored() -> Problem:
    return Problem(HTTPStatus.NOT_FOUND, "Nothing with these UIDs is stored here.")


async def _prepend(
    first: RetrievedObject, rest: AsyncGenerator[RetrievedObject, None]
) -> AsyncGenerator[RetrievedObject, None]:
    yield first
    async for each in rest:
        yield each


async def _no_parts() -> AsyncGenerator[Part, None]:
    nothing: tuple[Part, ...] = ()
    for each in nothing:
        yield each
