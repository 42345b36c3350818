"""STOW-RS (PS3.18 section 10.5): a request's instances stored, each answered for itself.

The body is streamed: a part goes to the spool while it comes and to the bucket when it is whole, so
that memory is bounded whatever is sent. What a part holds is `receiving`'s matter, how instances
are stored `storing_parts`', what is answered `store_response`'s.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Protocol
from uuid import uuid4

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dimse_ingestion.dicomweb.http.header_values import media_type
from dimse_ingestion.dicomweb.http.media_types import DICOM, MULTIPART
from dimse_ingestion.dicomweb.http.multipart_reader import (
    Event,
    MalformedMultipart,
    MultipartReader,
    PartContent,
    PartEnd,
    PartHeaders,
)
from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.dicomweb.http.representations import store_response_format
from dimse_ingestion.dicomweb.http.urls import BASE_PATH, Resource, resource
from dimse_ingestion.dicomweb.http.warning_headers import warning
from dimse_ingestion.dicomweb.routing import ServiceContext
from dimse_ingestion.dicomweb.store.bulk_data_upload import BulkDataUpload
from dimse_ingestion.dicomweb.store.metadata_upload import (
    LONGEST_METADATA,
    METADATA,
    Limits,
    MetadataUpload,
)
from dimse_ingestion.dicomweb.store.metadata_worker import MetadataWorker
from dimse_ingestion.dicomweb.store.pipeline import StorePipeline
from dimse_ingestion.dicomweb.store.response import (
    Outcome,
    http_status,
    response_elements,
    sentences,
)
from dimse_ingestion.dicomweb.store.uid_conflicts import UidConflicts
from dimse_ingestion.operations.composition import storage_space
from dimse_ingestion.operations.store import Storer
from dimse_ingestion.settings import DicomwebSettings
from dimse_ingestion.settings.errors import directory_mistake
from dimse_ingestion.spooling import spool as spooling
from dimse_ingestion.spooling.spool import Spool


def routes(context: ServiceContext) -> Iterable[BaseRoute]:
    """Where instances are stored."""
    spool = _spool(context.settings)
    context.exit_stack.callback(spool.close)
    space = storage_space(context.settings)
    limits = Limits(context.settings.maximum_body, context.settings.maximum_parts)
    storing = Storer(context.wires.bucket, context.wires.sink, space)
    worker = MetadataWorker(LONGEST_METADATA)
    context.exit_stack.callback(worker.close)
    stow = StowService(spool, storing, UidConflicts(context.wires.queries), limits, worker)

    async def answer(request: Request) -> Response:
        form = store_response_format(request)
        outcomes = await stow.store(request, resource(request).study)
        base = context.urls.base(request)
        told = response_elements(outcomes, lambda *uids: f"{base}{Resource(*uids).path}")
        body = form.encoded(told, _no_bulk_data)
        whole = body if form.media_type == f"{DICOM}+json" else form.body([body])
        response = Response(whole, http_status(outcomes), media_type=form.media_type)
        for sentence in sentences(outcomes):
            response.headers.append("warning", warning(base, sentence))
        if response.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            response.headers["retry-after"] = "1"
        return response

    for path in ("/studies", "/studies/{study}"):
        yield Route(f"{BASE_PATH}{path}", answer, methods=["POST"])


def _spool(settings: DicomwebSettings) -> Spool:
    spool = Spool(
        settings.spool_directory,
        spooling.Limits(
            memory=settings.spool_memory,
            memory_in_all=settings.spool_memory_in_all,
            disk=settings.spool_limit,
        ),
    )
    try:
        spool.prepare()
    except OSError as trouble:
        directory = str(settings.spool_directory)
        raise directory_mistake("DICOMWEB_SPOOL_DIRECTORY", directory, trouble) from None
    return spool


def _no_bulk_data(path: Sequence[str]) -> str:
    """A response has none."""
    raise ValueError(f"{'/'.join(path)} is no bulk data.")


class PartHandler(Protocol):
    """What takes the parts of one request (see `storing_parts`, `metadata_parts`)."""

    @property
    def count(self) -> int:
        """Parts so far."""

    def begin(self, headers: Mapping[str, str]) -> None:
        """A part begins."""

    async def write(self, content: bytes) -> None:
        """Some of its bytes."""

    async def end(self) -> None:
        """The part is whole."""

    async def finish(self) -> None:
        """No part follows."""


class StowService:
    """Takes the requests of one storage space."""

    def __init__(
        self,
        spool: Spool,
        storing: Storer,
        likening: UidConflicts,
        limits: Limits,
        worker: MetadataWorker,
    ) -> None:
        self._spool = spool
        self._storing = storing
        self._likening = likening
        self._limits = limits
        self._worker = worker

    async def store(self, request: Request, study: str = "") -> list[Outcome]:
        """Store what a request brings, into `study` if it isn't empty.

        Raises Problem when the request can't be read to its end; what was whole is stored then,
        too, and the sentence says so.
        """
        content_type = request.headers.get("content-type", "")
        kind, parameters = media_type(content_type)
        of_parts = parameters.get("type", DICOM).lower() if kind == MULTIPART else kind
        if of_parts not in (DICOM, *METADATA):
            raise _unsupported(kind, of_parts)
        body = self._body(request)
        async with StorePipeline(self._spool, self._storing, self._likening, study) as storing:
            parts = self._parts(of_parts, str(request.url), storing)
            try:
                if kind == MULTIPART:
                    await self._read_parts(parameters.get("boundary", ""), body, parts)
                else:
                    await _read_one(content_type, body, parts)
                await parts.finish()
            except MalformedMultipart as broken:
                problem = Problem(HTTPStatus.BAD_REQUEST, str(broken))
                raise _broken_off(problem, await storing.outcomes()) from None
            except Problem as problem:
                raise _broken_off(problem, await storing.outcomes()) from None
            return await storing.outcomes()

    def _parts(self, of_parts: str, address: str, storing: StorePipeline) -> PartHandler:
        """What takes the parts of a request."""
        if of_parts == DICOM:
            return storing
        bulk = BulkDataUpload(self._spool.open(str(uuid4())), address)
        storing.at_end(bulk.close)
        return MetadataUpload(bulk, storing, self._limits, self._worker)

    async def _read_parts(
        self, boundary: str, body: AsyncIterator[bytes], parts: PartHandler
    ) -> None:
        reader = MultipartReader(boundary)
        async for data in body:
            for event in reader.feed(data):
                await self._take(event, parts)
                if isinstance(event, PartEnd):
                    await asyncio.sleep(0)  # others' turn: small parts come many at once
        reader.finish()
        if not parts.count:
            raise Problem(
                HTTPStatus.BAD_REQUEST, "The multipart body has no part: send instances in it."
            )

    async def _take(self, event: Event, parts: PartHandler) -> None:
        if isinstance(event, PartContent):
            await parts.write(event.content)
        elif not isinstance(event, PartHeaders):
            await parts.end()
        elif parts.count == self._limits.parts:
            raise Problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"The request has more than {self._limits.parts} parts "
                "(DICOMWEB_MAXIMUM_PARTS): send the rest in another.",
            )
        else:
            parts.begin(event.headers)

    async def _body(self, request: Request) -> AsyncIterator[bytes]:
        """The request's bytes. Raises Problem when they are too many, or stop coming."""
        length = 0
        stream = aiter(request.stream())
        while True:
            try:
                data = await anext(stream, None)
            except ClientDisconnect:
                raise Problem(
                    HTTPStatus.BAD_REQUEST, "The connection ended within the body."
                ) from None
            if data is None:
                return
            length += len(data)
            if length > self._limits.body:
                raise Problem(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    f"The request has more than {self._limits.body} bytes "
                    "(DICOMWEB_MAXIMUM_BODY): send it in several.",
                )
            yield data


async def _read_one(content_type: str, body: AsyncIterator[bytes], parts: PartHandler) -> None:
    parts.begin({"content-type": content_type})
    async for data in body:
        await parts.write(data)
    await parts.end()


def _unsupported(kind: str, of_parts: str) -> Problem:
    told = f"{kind} of {of_parts}" if kind == MULTIPART else kind or "is missing or unreadable"
    offers = ", ".join((DICOM, *sorted(METADATA)))
    return Problem(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        f"Content-Type {told}: send {MULTIPART} with one of type {offers}.",
    )


def _broken_off(problem: Problem, outcomes: list[Outcome]) -> Problem:
    """The problem, and how much was stored before it."""
    stored = sum(each.failure is None for each in outcomes)
    before = f" Before that, {stored} instances were stored." if stored else ""
    return Problem(problem.status, f"{problem.detail}{before}", headers=problem.headers)
