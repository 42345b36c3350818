"""HTTP client of the event sink at K_SINK: the catalogue, or a broker in front of it.

Only a 2xx counts as the promise that the event won't be lost. The same event may be sent twice (a
receiver knows it by its id), so a request whose connection broke is repeated once at once. Longer
retries are the transport's part, which knows the operation's deadline.

A sink that announces batches, as the catalogue does, gets events in batches under load. Every other
sink gets each event in a request of its own.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import aiohttp

from dimse_ingestion.events.batch_codec import BATCH_TYPE, decode_results, encode_batch
from dimse_ingestion.events.batcher import Batcher, EncodedEvent, Result
from dimse_ingestion.events.cloudevents import CONTENT_TYPE, encode
from dimse_ingestion.events.contract import ImageStoredEvent
from dimse_ingestion.failures import Failure
from dimse_ingestion.observability import metrics, tracing
from dimse_ingestion.secure_http.client import SecureClient
from dimse_ingestion.secure_http.connection import BrokenOff
from dimse_ingestion.secure_http.failures import PeerFailures, is_broken_off
from dimse_ingestion.secure_http.path_probe import PathProbe, is_success
from dimse_ingestion.settings import PeerAccess

_CHECK_TIMEOUT = 2.5  # seconds at most
_PROBE_INTERVAL = 10.0  # seconds until a sink without batches is probed again
_LARGE = 256 * 1024  # bytes of an event that is sent alone, so that no other waits for it
_BATCH = {"content-type": BATCH_TYPE}


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
        self._failures = PeerFailures(access, url, "event", "events")
        self._client = SecureClient(access, timeout=timeout, connections=connections)
        self._batcher = Batcher(self._post_batch)
        self._accepts_batches = False
        self._probed_at = float("-inf")
        self._probe: asyncio.Task[None] | None = None
        self._single_posts = 0

    async def accept(self, event: ImageStoredEvent) -> None:
        """Send one event.

        Raises Unavailable when the sink is down, slow or answers 5xx, 408, 425 or 429; Refused when
        it refuses the event.
        """
        started = time.perf_counter()
        try:
            await self._accept(event)
        except Failure as failure:
            outcome = "failed" if failure.transient else "refused"
            metrics.events_sent.labels(outcome).inc()
            raise
        finally:
            metrics.events_seconds.observe(time.perf_counter() - started)
        metrics.events_sent.labels("accepted").inc()

    async def check(self) -> None:
        """Raise Failure when the URL takes no events.

        That is: no answer, a refused token, a sink that is not ready, a redirect, or a wrong path.
        No event is sent.
        """
        async with self._deadline(self._check_timeout):
            status = await self._probed_status()
        if not is_success(status):
            raise self._failures.refusal(status)

    async def close(self) -> None:
        """Close all connections."""
        if self._probe:
            self._probe.cancel()
        await self._batcher.close()
        await self._client.close()

    async def _accept(self, event: ImageStoredEvent) -> None:
        headers = {tracing.TRACEPARENT: event.traceparent} if event.traceparent else {}
        encoded = EncodedEvent(encode(event), {**headers, **tracing.headers()})
        with self._failures.mapped(self._timeout):
            status = await self._status_of(encoded)
        if not is_success(status):
            raise self._failures.refusal(status)

    async def _status_of(self, encoded: EncodedEvent) -> int:
        """Return the HTTP status of an event's answer; raises what prevented one."""
        async with asyncio.timeout(self._timeout):
            if self._accepts_batches and len(encoded.body) < _LARGE:
                return await self._batcher.submit(encoded)
            return await self._post_single(encoded)

    async def _probed_status(self) -> int:
        """Return the status of a probe of the URL, which also shows whether batches are accepted.

        It is repeated by readiness checks, so that a sink of another release is seen.
        """
        self._probed_at = time.monotonic()
        status = await self._path.status(self._client)
        self._accepts_batches = BATCH_TYPE in self._path.accept_post
        return status

    def _probe_under_load(self) -> None:
        """Probe the sink in the background if batches would help and it may accept them now."""
        is_recent = time.monotonic() - self._probed_at < _PROBE_INTERVAL
        if not self._accepts_batches and self._single_posts > 1 and not is_recent:
            self._probed_at = time.monotonic()
            self._probe = asyncio.create_task(self._probe_quietly(), name="probe the event sink")

    async def _probe_quietly(self) -> None:
        """Probe the sink; a failure only means that events are sent one by one."""
        with suppress(Failure):
            async with self._deadline(self._check_timeout):
                await self._probed_status()

    async def _post_batch(self, events: Sequence[EncodedEvent]) -> Sequence[Result]:
        """Post events together and return the result of each; one by one if that is refused."""
        metrics.events_batch_events.observe(len(events))
        async with asyncio.timeout(self._timeout):
            if len(events) == 1:
                return [await self._post(events[0])]
            body = encode_batch([each.body for each in events])
            status, answer = await self._request(body, _BATCH)
            if is_success(status) and (results := decode_results(answer, len(events))):
                return [each.status for each in results]
            if self._failures.refusal(status).transient:
                return [status] * len(events)
            # a catalogue of an earlier release, or another sink at the same address
            self._accepts_batches = False
            return await asyncio.gather(*map(self._post, events), return_exceptions=True)

    async def _post_single(self, event: EncodedEvent) -> int:
        self._single_posts += 1
        try:
            self._probe_under_load()
            return await self._post(event)
        finally:
            self._single_posts -= 1

    async def _post(self, event: EncodedEvent) -> int:
        headers = {**event.headers, "content-type": CONTENT_TYPE}
        status, _ = await self._request(event.body, headers)
        return status

    async def _request(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Return the status and body of the answer to a POST."""
        try:
            return await self._request_once(body, headers)
        except (aiohttp.ClientError, BrokenOff) as error:
            if not is_broken_off(error):
                raise
        # the sink closed an idle connection, most often
        return await self._request_once(body, headers)

    async def _request_once(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        async with self._client.post(self._url, body, headers=headers) as answer:
            return answer.status, await answer.read()

    @asynccontextmanager
    async def _deadline(self, seconds: float) -> AsyncIterator[None]:
        """Raise Unavailable for errors within the block, and when it takes too long.

        The client's timeouts are for each read: a sink that sends a byte now and then would outlast
        them.
        """
        with self._failures.mapped(seconds):
            async with asyncio.timeout(seconds):
                yield
