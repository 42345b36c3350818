"""HTTP client of the catalogue at QUERY_ENDPOINT; its answers are read as a stream.

The next bytes are read only when the caller takes the next match, so that a slow modality slows
down the catalogue's answer instead of filling memory. Closing the generator closes the connection,
which ends the query at the catalogue. The bodies are encoded in `wire`.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from http import HTTPStatus
from typing import TypeVar

from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.failures import Failure, Unavailable
from dimse_ingestion.observability import metrics, tracing
from dimse_ingestion.queries.contract import Located, ObjectsDigest, Query
from dimse_ingestion.queries.line_memory import Budget, LineMemory
from dimse_ingestion.queries.summary_codec import decode_count, decode_digest, decode_refusal
from dimse_ingestion.queries.wire import (
    COUNT,
    DIGEST,
    MEDIA_TYPE,
    MISSING,
    OBJECTS,
    PATHS,
    SOURCE,
    AnswerReader,
    ObjectNames,
    decode_names,
    encode_names,
    encode_query,
    match_reader,
    object_reader,
)
from dimse_ingestion.secure_http.client import Answer, SecureClient
from dimse_ingestion.secure_http.failures import PeerFailures
from dimse_ingestion.secure_http.path_probe import NO_HANDLER, PathProbe, is_success
from dimse_ingestion.settings import PeerAccess

_CHECK_TIMEOUT = 2.5  # seconds at most
_CHECK_REFUSALS = NO_HANDLER | {HTTPStatus.UNAUTHORIZED, HTTPStatus.MISDIRECTED_REQUEST}
_Summary = TypeVar("_Summary")
_Match = TypeVar("_Match", list[Element], Located)


class HttpQueryClient:
    """Client of the catalogue at `endpoint`, for the storage space of `provider`.

    `timeout` is for how many seconds it may be silent, not how long an answer may take. `memory`
    bounds the long matches of all answers, each until the caller takes the next.
    """

    def __init__(
        self,
        endpoint: str,
        provider: str,
        access: PeerAccess | None = None,
        *,
        timeout: float = 30.0,
        connections: int = 64,
        memory: Budget | None = None,
    ) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._provider = provider
        self._timeout = timeout
        self._memory = memory
        studies = f"{self._endpoint}{PATHS['STUDY']}"
        self._check_timeout = min(timeout, _CHECK_TIMEOUT)
        self._path = PathProbe(studies, self._check_timeout)
        access = access or PeerAccess()
        self._failures = PeerFailures(access, self._endpoint, "query", "queries")
        self._client = SecureClient(access, timeout=timeout, connections=connections)

    def matches(self, query: Query) -> AsyncGenerator[list[Element], None]:
        """Yield matches as they arrive.

        Raises Unavailable when the catalogue is down, slow or breaks off, the failure it sent, or
        Refused when it refuses the query.
        """
        return self._counted_answer(PATHS[query.scope], query, match_reader())

    def objects(self, query: Query) -> AsyncGenerator[Located, None]:
        """Yield instances with their objects as they arrive; raises as `matches` does."""
        return self._counted_answer(OBJECTS, query, object_reader())

    async def _counted_answer(
        self, path: str, query: Query, reader: AnswerReader[_Match]
    ) -> AsyncGenerator[_Match, None]:
        """Yield the answer's matches, and count them and how the query ended."""
        outcome = "left"
        try:
            with tracing.detached_span("query", level=query.scope):
                async with aclosing(self._answer(path, query, reader)) as answer:
                    async for match in answer:
                        metrics.queries_matches.inc()
                        yield match
                        del match
            outcome = "done"
        except Failure as failure:
            outcome = "failed" if failure.transient else "refused"
            raise
        finally:
            metrics.query_requests.labels(outcome).inc()

    async def missing(self, bucket_name: str, object_names: Sequence[str]) -> list[str]:
        """Return those of the object names that have no entry; raises as `matches` does."""
        with self._failures.mapped(self._timeout):
            names = encode_names(ObjectNames(bucket_name, list(object_names)))
            async with self._request(MISSING, names, "application/json") as answer:
                status, body = answer.status, await answer.read()
        if not is_success(status):
            raise self._failures.refusal(status)
        try:
            return decode_names(body).object_names
        except ValueError:
            raise Unavailable("The catalogue sent a malformed answer.") from None

    async def count(self, query: Query) -> int | None:
        """Return the number of matching studies, None where counting would take long."""
        return await self._summary(COUNT, query, decode_count)

    async def digest(self, query: Query) -> ObjectsDigest:
        """Return the digest of the matching instances; keys are UIDs alone."""
        return await self._summary(DIGEST, query, decode_digest)

    async def _summary(
        self, path: str, query: Query, decode: Callable[[bytes], _Summary]
    ) -> _Summary:
        with self._failures.mapped(self._timeout):
            async with self._request(path, encode_query(query), "application/json") as answer:
                status, body = answer.status, await answer.read()
        if status == HTTPStatus.UNPROCESSABLE_ENTITY:
            raise decode_refusal(body)
        if not is_success(status):
            raise self._failures.refusal(status)
        try:
            return decode(body)
        except ValueError:
            raise Unavailable("The catalogue sent a malformed answer.") from None

    async def check(self) -> None:
        """Raise Failure when no catalogue answers, it refuses the token, or is not ready.

        Our catalogue reports at /readyz that it is not ready; others may have no such page. /readyz
        needs no token, so token and path are checked where queries are sent.
        """
        with self._failures.mapped(self._check_timeout):
            readyz = f"{self._endpoint}/readyz"
            async with self._client.request("GET", readyz, seconds=self._check_timeout) as answer:
                readiness = answer.status
            status = await self._path.status(self._client)
        if status in _CHECK_REFUSALS:
            raise self._failures.refusal(status)
        if readiness >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Unavailable(f"The catalogue is not ready: see its /readyz ({self._endpoint}).")

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def _answer(
        self, path: str, query: Query, reader: AnswerReader[_Match]
    ) -> AsyncGenerator[_Match, None]:
        with self._failures.mapped(self._timeout):
            async with (
                AsyncExitStack() as stack,
                self._request(path, encode_query(query), MEDIA_TYPE) as answer,
            ):
                if not is_success(answer.status):
                    raise self._failures.refusal(answer.status)
                memory = LineMemory(self._memory, self._timeout, stack)
                async for data in answer.pieces():
                    for match in reader.feed(data):
                        memory.shrink(reader.cost)
                        yield match
                        del match  # a long one is in memory no longer than its reservation
                        await memory.release()
                    await memory.reserve(reader.arrived)
        reader.finish()

    def _request(self, path: str, body: bytes, accept: str) -> AbstractAsyncContextManager[Answer]:
        headers = {"content-type": "application/json", "accept": accept, **tracing.headers()}
        parameters = {SOURCE: self._provider}
        return self._client.post(self._endpoint + path, body, headers=headers, params=parameters)
