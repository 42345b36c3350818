"""STOW-RS (PS3.18 section 10.5): a request's instances stored, each answered for itself.

The body is streamed: a part goes to the spool while it comes and to the bucket when it is whole, so
that memory is bounded whatever is sent. What a part holds is `receiving`'s matter, how instances
are stored `storing_parts`', what is answered `store_response`'s.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.dicomweb.multipart import (
    Event,
    MultipartBroken,
    MultipartReader,
    PartBegun,
    PartBytes,
    media_type,
)
from dimse_ingestion.dicomweb.problems import Problem
from dimse_ingestion.dicomweb.store_response import Outcome
from dimse_ingestion.dicomweb.storing_parts import StoringParts
from dimse_ingestion.operations.storing import Storing
from dimse_ingestion.spooling.spool import Spool

DICOM = "application/dicom"
MULTIPART = "multipart/related"
_BAD_REQUEST, _TIMEOUT, _TOO_LARGE, _UNSUPPORTED = 400, 408, 413, 415


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one request: bytes, parts, and seconds without a byte."""

    body: int
    parts: int
    silence: float


class Stow:
    """Takes the requests of one storage space."""

    def __init__(self, spool: Spool, storing: Storing, limits: Limits) -> None:
        self._spool = spool
        self._storing = storing
        self._limits = limits

    async def store(self, request: Request, study: str = "") -> list[Outcome]:
        """Store what a request brings, into `study` if it isn't empty.

        Raises Problem when the request can't be read to its end; what was whole is stored then,
        too, and the sentence says so.
        """
        kind, parameters = media_type(request.headers.get("content-type", ""))
        body = self._body(request)
        async with StoringParts(self._spool, self._storing, study) as parts:
            try:
                if kind == MULTIPART:
                    await self._read_parts(parameters.get("boundary", ""), body, parts)
                elif kind == DICOM:
                    await _read_one(body, parts)
                else:
                    raise _unsupported(kind)
            except MultipartBroken as broken:
                raise _broken_off(_BAD_REQUEST, str(broken), await parts.outcomes()) from None
            except Problem as problem:
                raise _broken_off(problem.status, problem.detail, await parts.outcomes()) from None
            return await parts.outcomes()

    async def _read_parts(
        self, boundary: str, body: AsyncIterator[bytes], parts: StoringParts
    ) -> None:
        reader = MultipartReader(boundary)
        async for data in body:
            for event in reader.feed(data):
                await self._take(event, parts)
        reader.finish()
        if not parts.count:
            raise Problem(_BAD_REQUEST, "The multipart body has no part: send instances in it.")

    async def _take(self, event: Event, parts: StoringParts) -> None:
        if isinstance(event, PartBytes):
            await parts.write(event.content)
        elif not isinstance(event, PartBegun):
            await parts.end()
        elif parts.count == self._limits.parts:
            raise Problem(
                _TOO_LARGE,
                f"The request has more than {self._limits.parts} parts "
                "(DICOMWEB_MAXIMUM_PARTS): send the rest in another.",
            )
        elif kept_out := _no_instance(event.headers):
            parts.refuse(kept_out)
        else:
            parts.begin()

    async def _body(self, request: Request) -> AsyncIterator[bytes]:
        """The request's bytes. Raises Problem when they are too many, or stop coming."""
        length = 0
        stream = aiter(request.stream())
        while True:
            try:
                data = await asyncio.wait_for(anext(stream, None), self._limits.silence)
            except TimeoutError:
                sentence = f"No byte came for {self._limits.silence:.0f} s: send faster."
                raise Problem(_TIMEOUT, sentence) from None
            except ClientDisconnect:
                raise Problem(_BAD_REQUEST, "The connection ended within the body.") from None
            if data is None:
                return
            length += len(data)
            if length > self._limits.body:
                raise Problem(
                    _TOO_LARGE,
                    f"The request has more than {self._limits.body} bytes "
                    "(DICOMWEB_MAXIMUM_BODY): send it in several.",
                )
            yield data


async def _read_one(body: AsyncIterator[bytes], parts: StoringParts) -> None:
    parts.begin()
    async for data in body:
        await parts.write(data)
    await parts.end()


def _no_instance(headers: Mapping[str, str]) -> DimseFailure | None:
    """Why a part by its headers is no Part-10 file; None when it may be one."""
    kind, _ = media_type(headers.get("content-type", DICOM))
    if kind in (DICOM, "application/octet-stream"):
        return None
    return DimseFailure(
        Status.CANNOT_UNDERSTAND, f"A part has the media type {kind or 'unknown'}: send {DICOM}."
    )


def _unsupported(kind: str) -> Problem:
    return Problem(
        _UNSUPPORTED,
        f"Content-Type {kind or 'is missing or unreadable'}: send {MULTIPART} with type {DICOM}, "
        f"{DICOM}+json or {DICOM}+xml, or one instance as {DICOM}.",
    )


def _broken_off(status: int, why: str, outcomes: list[Outcome]) -> Problem:
    stored = sum(each.failure is None for each in outcomes)
    before = f" Before that, {stored} instances were stored." if stored else ""
    return Problem(status, f"{why}{before}")
