"""HTTP client of the event sink at K_SINK: the catalogue, or a broker in front of it.

Only a 2xx counts as the promise that the event won't be lost. The same event may be sent twice (a
receiver knows it by its id), so a request whose connection broke is repeated once at once. Longer
retries are the transport's part, which knows the operation's deadline.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import httpx2

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.events.cloudevents import CONTENT_TYPE, encode
from dimse_ingestion.events.contract import ImageStoredEvent
from dimse_ingestion.observability import metrics, tracing
from dimse_ingestion.secure_http.client import SecureClient
from dimse_ingestion.secure_http.failures import PeerFailures
from dimse_ingestion.secure_http.path_probe import PathProbe
from dimse_ingestion.settings import PeerAccess

_CHECK_TIMEOUT = 2.5  # seconds at most
_CONNECTION_BROKEN = (
    httpx2.RemoteProtocolError,
    httpx2.ReadError,
    httpx2.WriteError,
    httpx2.CloseError,
)


class HttpSink:
    """The sink at `url`; an event has `timeout` seconds to be accepted."""

    def __init__(
        self,
        url: str,
        access: PeerAccess | None = None,
        *,
        timeout: float = 10.0,
        connections: int = 64,
    ) -> None:
        self._url = url
        self._timeout = timeout
        self._check_timeout = min(timeout, _CHECK_TIMEOUT)
        self._path = PathProbe(url, self._check_timeout)
        access = access or PeerAccess(peer="event sink", url_setting="K_SINK")
        self._failures = PeerFailures(access, url, "event", "events", Status.PROCESSING_FAILURE)
        limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
        make = partial(httpx2.AsyncClient, timeout=timeout, limits=limits)
        self._client = SecureClient(access, make)

    async def accept(self, event: ImageStoredEvent) -> None:
        """Send one event.

        Raises DimseFailure: transient A700 when the sink is down, slow or answers 5xx, 408, 425 or
        429; 0110 when it refuses the event.
        """
        with metrics.events_seconds.time():
            try:
                await self._accept(event)
            except DimseFailure as failure:
                outcome = "failed" if failure.transient else "refused"
                metrics.events_sent.labels(outcome).inc()
                raise
        metrics.events_sent.labels("accepted").inc()

    async def check(self) -> None:
        """Raise DimseFailure when the URL takes no events.

        That is: no answer, a refused token, a sink that is not ready, a redirect, or a wrong path.
        No event is sent.
        """
        async with self._deadline(self._check_timeout):
            status = await self._path.status(self._client.current())
        if not httpx2.codes.is_success(status):
            raise self._failures.refusal(status)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def _accept(self, event: ImageStoredEvent) -> None:
        headers = {tracing.TRACEPARENT: event.traceparent} if event.traceparent else {}
        headers = {**headers, **tracing.headers(), "content-type": CONTENT_TYPE}
        body = encode(event)
        async with self._deadline(self._timeout):
            status = await self._post(body, headers)
        if not httpx2.codes.is_success(status):
            raise self._failures.refusal(status)

    @asynccontextmanager
    async def _deadline(self, seconds: float) -> AsyncIterator[None]:
        """Raise transient A700 for errors within the block, and when it takes too long.

        httpx2's timeouts are for each read: a sink that sends a byte now and then would outlast
        them.
        """
        with self._failures.mapped(seconds):
            async with asyncio.timeout(seconds):
                yield

    async def _post(self, body: bytes, headers: dict[str, str]) -> int:
        client = self._client.current()
        try:
            answer = await client.post(self._url, content=body, headers=headers)
        except _CONNECTION_BROKEN:  # by a sink that closed an idle connection, most often
            answer = await client.post(self._url, content=body, headers=headers)
        return answer.status_code
