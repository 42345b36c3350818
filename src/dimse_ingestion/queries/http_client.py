"""The catalogue behind QUERY_ENDPOINT, asked by HTTP POST and read as it answers.

Matches are handed on one by one and the next bytes are read only when they are wanted, so that a
slow modality slows the catalogue's answer instead of filling memory. Closing the iterator closes
the connection, which ends the query at the catalogue. The body is `wire`'s matter.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from functools import partial
from typing import TypeVar

import httpx2

from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.dicom.failure import DimseFailure, OutOfResources
from dimse_ingestion.observability import metrics, tracing
from dimse_ingestion.queries.contract import Located, Query
from dimse_ingestion.queries.failures import catalogue_failures, refusal
from dimse_ingestion.queries.wire import (
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
from dimse_ingestion.secure_http.client import SecureClient
from dimse_ingestion.secure_http.path_proof import NO_HANDLER, PathProof
from dimse_ingestion.settings import PeerAccess

_LONGEST_CHECK = 2.5
_REFUSED_HERE = NO_HANDLER | {httpx2.codes.UNAUTHORIZED, httpx2.codes.MISDIRECTED_REQUEST}
_Found = TypeVar("_Found", list[Element], Located)


class HttpQueryClient:
    """The catalogue at `endpoint`, asked about the storage space of `provider`.

    `timeout` is for how many seconds it may be silent, not how long an answer may take.
    """

    def __init__(
        self,
        endpoint: str,
        provider: str,
        access: PeerAccess | None = None,
        *,
        timeout: float = 30.0,
        connections: int = 64,
    ) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._provider = provider
        self._timeout = timeout
        studies = f"{self._endpoint}{PATHS['STUDY']}"
        self._path = PathProof(studies, min(timeout, _LONGEST_CHECK))
        self._access = access or PeerAccess()
        limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=8)
        make = partial(httpx2.AsyncClient, timeout=timeout, limits=limits)
        self._client = SecureClient(self._access, make)

    def matches(self, query: Query) -> AsyncGenerator[list[Element], None]:
        """Matches as they arrive.

        Raises DimseFailure: transient A700 when the catalogue is down, slow or breaks off, the
        failure it sent, or C001 when it refuses the question.
        """
        return self._found(PATHS[query.scope], query, match_reader())

    def objects(self, query: Query) -> AsyncGenerator[Located, None]:
        """Instances with their objects as they arrive; raises as `matches` does."""
        return self._found(OBJECTS, query, object_reader())

    async def _found(
        self, path: str, query: Query, reader: AnswerReader[_Found]
    ) -> AsyncGenerator[_Found, None]:
        """What is found, counted."""
        outcome = "left"
        try:
            async with aclosing(self._answer(path, query, reader)) as answer:
                async for match in answer:
                    metrics.queries_matches.inc()
                    yield match
            outcome = "done"
        except DimseFailure as failure:
            outcome = "failed" if failure.transient else "refused"
            raise
        finally:
            metrics.query_requests.labels(outcome).inc()

    async def missing(self, bucket_name: str, object_names: Sequence[str]) -> list[str]:
        """Return those of the object names that have no entry; raises as `matches` does."""
        with catalogue_failures(self._endpoint, self._timeout, self._access):
            answer = await self._client.current().post(
                self._endpoint + MISSING,
                params={SOURCE: self._provider},
                content=encode_names(ObjectNames(bucket_name, list(object_names))),
                headers={"content-type": "application/json", **tracing.headers()},
            )
        if not answer.is_success:
            raise refusal(self._endpoint, answer.status_code, self._access)
        try:
            return decode_names(answer.content).object_names
        except ValueError:
            sentence = "The catalogue sent an answer that is not as agreed."
            raise OutOfResources(sentence) from None

    async def check(self) -> None:
        """Raise DimseFailure when no catalogue is there, it refuses the token, or is not ready.

        Ours says under /readyz that it is not ready; another one need have no such page. /readyz
        may be open to everybody, so token and path are proved where queries go.
        """
        timeout = min(self._timeout, _LONGEST_CHECK)
        with catalogue_failures(self._endpoint, timeout, self._access):
            client = self._client.current()
            answer = await client.get(f"{self._endpoint}/readyz", timeout=timeout)
            status = await self._path.status(client)
        if status in _REFUSED_HERE:
            raise refusal(self._endpoint, status, self._access)
        if answer.is_server_error:
            raise OutOfResources(f"The catalogue is not ready: see its /readyz ({self._endpoint}).")

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.close()

    async def _answer(
        self, path: str, query: Query, reader: AnswerReader[_Found]
    ) -> AsyncGenerator[_Found, None]:
        with catalogue_failures(self._endpoint, self._timeout, self._access):
            async with self._asked(path, query) as response:
                if not response.is_success:
                    raise refusal(self._endpoint, response.status_code, self._access)
                async for data in response.aiter_bytes():
                    for match in reader.feed(data):
                        yield match
        reader.finish()

    def _asked(self, path: str, query: Query) -> AbstractAsyncContextManager[httpx2.Response]:
        return self._client.current().stream(
            "POST",
            self._endpoint + path,
            params={SOURCE: self._provider},
            content=encode_query(query),
            headers={
                "content-type": "application/json",
                "accept": MEDIA_TYPE,
                **tracing.headers(),
            },
        )
