"""STOW-RS (PS3.18 section 10.5): store the instances of a request and report on each one.

The body is streamed: a part is written to the spool while it arrives and to the bucket when it is
complete, so that memory is bounded whatever a client sends. `part10_upload` and `metadata_upload`
read the parts, `pipeline` stores the instances, `response` builds the response.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Protocol
from uuid import uuid4

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dimse_ingestion.audit.codes import outcome_of_failure
from dimse_ingestion.dicomweb.audit import note_stored
from dimse_ingestion.dicomweb.http.header_values import media_type, warning
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
from dimse_ingestion.dicomweb.http.representations import DataSetFormat, store_response_format
from dimse_ingestion.dicomweb.http.urls import BASE_PATH, Resource, resource
from dimse_ingestion.dicomweb.routing import ServiceContext
from dimse_ingestion.dicomweb.store.bulk_data_upload import BulkDataUpload
from dimse_ingestion.dicomweb.store.metadata_upload import (
    LONGEST_METADATA,
    METADATA,
    MetadataUpload,
    RequestLimits,
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

_ENCODED_IN_LOOP = 200  # outcomes: a longer response is encoded in a thread


def routes(context: ServiceContext) -> Iterable[BaseRoute]:
    """Return the routes of STOW-RS: POST to all studies, or to one study."""
    spool = _spool(context.settings)
    context.exit_stack.callback(spool.close)
    space = storage_space(context.settings)
    limits = RequestLimits(context.settings.maximum_body, context.settings.maximum_parts)
    storer = Storer(context.backends.bucket, context.backends.sink, space)
    worker = MetadataWorker(LONGEST_METADATA)
    context.exit_stack.callback(worker.close)
    stow = StowService(spool, storer, UidConflicts(context.backends.queries), limits, worker)

    async def respond(request: Request) -> Response:
        form = store_response_format(request)
        outcomes = await stow.store(request, resource(request).study)
        base = context.urls.base(request)
        if len(outcomes) <= _ENCODED_IN_LOOP:
            return _response(form, outcomes, base)
        return await asyncio.to_thread(_response, form, outcomes, base)

    for path in ("/studies", "/studies/{study}"):
        yield Route(f"{BASE_PATH}{path}", respond, methods=["POST"])


def _response(form: DataSetFormat, outcomes: Sequence[Outcome], base: str) -> Response:
    """Return the response to a store request at the service's URL `base`."""
    elements = response_elements(outcomes, lambda *uids: f"{base}{Resource(*uids).path}")
    body = form.encoded(elements, _no_bulk_data)
    whole = body if form.media_type == f"{DICOM}+json" else form.body([body])
    response = Response(whole, http_status(outcomes), media_type=form.media_type)
    for sentence in sentences(outcomes):
        response.headers.append("warning", warning(base, sentence))
    if response.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["retry-after"] = "1"
    return response


async def _outcomes(request: Request, pipeline: StorePipeline) -> list[Outcome]:
    """Return the outcomes of all instances so far, noted for the audit trail."""
    outcomes = await pipeline.outcomes()
    for each in outcomes:
        identity = each.identity
        note_stored(
            request,
            identity.study_instance_uid,
            (identity.patient_id, identity.patient_name),
            identity.sop_class_uid,
            outcome=outcome_of_failure(each.failure),
            is_new=each.is_new,
        )
    return outcomes


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
    except OSError as error:
        directory = str(settings.spool_directory)
        raise directory_mistake("DICOMWEB_SPOOL_DIRECTORY", directory, error) from None
    return spool


def _no_bulk_data(path: Sequence[str]) -> str:
    """Raise ValueError: a store response has no bulk data."""
    raise ValueError(f"{'/'.join(path)} is no bulk data.")


class PartHandler(Protocol):
    """Takes the parts of one request: `StorePipeline` or `MetadataUpload`."""

    @property
    def count(self) -> int:
        """Return the number of parts so far."""

    def begin(self, headers: Mapping[str, str]) -> None:
        """Begin a part that has these headers."""

    async def write(self, content: bytes) -> None:
        """Take the next bytes of the part."""

    async def end(self) -> None:
        """End the part: all its bytes have arrived."""

    async def finish(self) -> None:
        """End the request: no part follows."""


class StowService:
    """Stores the instances of requests in one storage space."""

    def __init__(
        self,
        spool: Spool,
        storer: Storer,
        conflicts: UidConflicts,
        limits: RequestLimits,
        worker: MetadataWorker,
    ) -> None:
        self._spool = spool
        self._storer = storer
        self._conflicts = conflicts
        self._limits = limits
        self._worker = worker

    async def store(self, request: Request, study: str = "") -> list[Outcome]:
        """Store the instances of a request, into `study` unless it is empty.

        Raises Problem when the request can't be read to its end. Instances that were complete by
        then are stored; the detail of the problem gives their number.
        """
        _check_content_encoding(request)
        content_type = request.headers.get("content-type", "")
        kind, parameters = media_type(content_type)
        part_type = parameters.get("type", DICOM).lower() if kind == MULTIPART else kind
        if part_type not in (DICOM, *METADATA):
            raise _unsupported(kind, part_type)
        body = self._body(request)
        async with StorePipeline(self._spool, self._storer, self._conflicts, study) as pipeline:
            parts = self._parts(part_type, str(request.url), pipeline)
            try:
                if kind == MULTIPART:
                    await self._read_parts(parameters.get("boundary", ""), body, parts)
                else:
                    await _read_one(content_type, body, parts)
                await parts.finish()
            except MalformedMultipart as malformed:
                problem = Problem(HTTPStatus.BAD_REQUEST, str(malformed))
                raise _with_stored_count(problem, await _outcomes(request, pipeline)) from None
            except Problem as problem:
                raise _with_stored_count(problem, await _outcomes(request, pipeline)) from None
            return await _outcomes(request, pipeline)

    def _parts(self, part_type: str, address: str, pipeline: StorePipeline) -> PartHandler:
        """Return the handler for parts of this media type."""
        if part_type == DICOM:
            return pipeline
        bulk = BulkDataUpload(self._spool.open(str(uuid4())), address)
        pipeline.on_exit(bulk.close)
        return MetadataUpload(bulk, pipeline, self._limits, self._worker)

    async def _read_parts(
        self, boundary: str, body: AsyncIterator[bytes], parts: PartHandler
    ) -> None:
        reader = MultipartReader(boundary)
        async for data in body:
            for event in reader.feed(data):
                await self._handle(event, parts)
                if isinstance(event, PartEnd):
                    await asyncio.sleep(0)  # many small parts: let other requests run
        reader.finish()
        if not parts.count:
            raise Problem(
                HTTPStatus.BAD_REQUEST, "The multipart body has no part: send instances in it."
            )

    async def _handle(self, event: Event, parts: PartHandler) -> None:
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
        """Yield the body's bytes; raises Problem if it is too long or the client disconnects."""
        length = 0
        stream = aiter(request.stream())
        while True:
            try:
                data = await anext(stream, None)
            except ClientDisconnect:
                raise Problem(
                    HTTPStatus.BAD_REQUEST, "The connection ended before the body was complete."
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


def _check_content_encoding(request: Request) -> None:
    """Raise Problem 415 for a compressed body (RFC 9110 15.5.16)."""
    encodings = request.headers.getlist("content-encoding")
    named = {each.strip().lower() for line in encodings for each in line.split(",")}
    if named - {"", "identity"}:
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "The body has a Content-Encoding: send it without; instances may be compressed by "
            "their transfer syntax.",
            headers={"accept-encoding": "identity"},
        )


def _unsupported(kind: str, part_type: str) -> Problem:
    given = f"{kind} of {part_type}" if kind == MULTIPART else kind or "is missing or unreadable"
    offers = ", ".join((DICOM, *sorted(METADATA)))
    return Problem(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        f"Content-Type {given}: send {MULTIPART} with one of type {offers}.",
    )


def _with_stored_count(problem: Problem, outcomes: list[Outcome]) -> Problem:
    """Return the problem with the number of instances that were stored before it."""
    stored = sum(each.failure is None for each in outcomes)
    before = f" Before that, {stored} instances were stored." if stored else ""
    return Problem(problem.status, f"{problem.detail}{before}", headers=problem.headers)
