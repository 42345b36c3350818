"""The sink behind K_SINK: the catalogue, or a broker in front of it, asked by HTTP POST.

A 2xx is the promise that the event won't be lost; nothing less is taken for one. The same event may
be sent twice (its id says so), so a connection that broke is tried once more at once. Longer
retrying is the transport's, which has the operation's deadline.
"""

from functools import partial

import httpx2

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.events.cloudevents import CONTENT_TYPE, encode
from dimse_ingestion.events.contract import ImageStoredEvent
from dimse_ingestion.events.failures import nothing_there, refusal, sink_failures
from dimse_ingestion.observability import metrics, tracing
from dimse_ingestion.secure_http.client import SecureClient
from dimse_ingestion.secure_http.path_proof import NO_HANDLER, PathProof
from dimse_ingestion.settings import PeerAccess

_LONGEST_CHECK = 2.5
_BROKEN = (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError, httpx2.CloseError)


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
        self._path = PathProof(url, min(timeout, _LONGEST_CHECK))
        self._access = access or PeerAccess(peer="event sink", url_setting="K_SINK")
        limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
        make = partial(httpx2.AsyncClient, timeout=timeout, limits=limits)
        self._client = SecureClient(self._access, make)

    async def accept(self, event: ImageStoredEvent) -> None:
        """Hand over one event.

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
        """Raise DimseFailure when no events can be taken at the URL.

        Because nothing answers, the token is refused, the sink is not ready or elsewhere, or
        nothing is at this path. No event is sent.
        """
        async with sink_failures(self._url, min(self._timeout, _LONGEST_CHECK), self._access):
            status = await self._path.status(self._client.current())
        if status in NO_HANDLER:
            raise nothing_there(self._url, status)
        if not httpx2.codes.is_success(status):
            raise refusal(self._url, status, self._access)

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.close()

    async def _accept(self, event: ImageStoredEvent) -> None:
        headers = {tracing.TRACEPARENT: event.traceparent} if event.traceparent else {}
        headers = {**headers, **tracing.headers(), "content-type": CONTENT_TYPE}
        body = encode(event)
        async with sink_failures(self._url, self._timeout, self._access):
            status = await self._posted(body, headers)
        if not httpx2.codes.is_success(status):
            raise refusal(self._url, status, self._access)

    async def _posted(self, body: bytes, headers: dict[str, str]) -> int:
        client = self._client.current()
        try:
            answer = await client.post(self._url, content=body, headers=headers)
        except _BROKEN:
            answer = await client.post(self._url, content=body, headers=headers)
        return answer.status_code
