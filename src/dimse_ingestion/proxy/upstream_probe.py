"""A periodic echo from the proxy to the bucket and the catalogue, for readiness.

It gives the answer that a modality's C-ECHO would get, before one is sent; readiness, `check` and
`standalone` use it. Associations do not depend on it: while the probe fails, each request is still
tried and answered individually.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import Failure
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.proxy.bridge import upstream_error
from dimse_ingestion.proxy.operation_ids import new_operation_id
from dimse_ingestion.transport.contract import TransportClient
from dimse_ingestion.transport.protocol.messages import EchoRequest, EchoResult, Origin

_LOG = logger(__name__)
_PAUSE = 10.0
_LONGEST_ECHO = 3.0
_PAUSE_WHILE_CLOSED = 1.0


class UpstreamProbe:
    """Send echoes and hold the result of the last one."""

    def __init__(
        self,
        requester: TransportClient,
        ae_title: str,
        transport_problem: Callable[[], str],
        *,
        pause: float = _PAUSE,
        pause_while_closed: float = _PAUSE_WHILE_CLOSED,
    ) -> None:
        self._requester = requester
        self._transport_problem = transport_problem
        self._origin = Origin(calling_ae_title=ae_title, called_ae_title=ae_title)
        self._pause, self._pause_while_closed = pause, pause_while_closed
        self._open = asyncio.Event()
        self._probe_requested = asyncio.Event()
        self.problem = "No echo has reached the bucket and the catalogue yet."
        """What is wrong, as a sentence; empty after a successful echo."""

    async def wait_until_open(self) -> None:
        """Wait until an echo has reached the bucket and the catalogue."""
        await self._open.wait()

    async def watch(self) -> None:
        """Send echoes until cancelled."""
        while True:
            await self.probe()
            self._probe_requested.clear()
            pause = self._pause_while_closed if self.problem else self._pause
            with suppress(TimeoutError):
                await asyncio.wait_for(self._probe_requested.wait(), pause)

    def request_probe(self) -> None:
        """Probe again at once, because an operation has just failed upstream."""
        self._probe_requested.set()

    async def probe(self) -> None:
        """Send one echo, unless the transport is down. Raises only CancelledError."""
        self._record(self._transport_problem() or await self._echo())

    async def _echo(self) -> str:
        try:
            async with asyncio.timeout(_LONGEST_ECHO):
                return _problem(await self._requester.echo(self._request()))
        except TimeoutError:
            return f"No ingestion service answered an echo within {_LONGEST_ECHO:.0f} s."
        except Failure as failure:
            return failure.comment
        except Exception as mistake:  # noqa: BLE001 - the loop continues, and `problem` shows the error
            _LOG.exception("The upstream probe failed because of an error in this software.")
            return f"The echo failed ({type(mistake).__name__}): see the log."

    def _request(self) -> EchoRequest:
        return EchoRequest(operation_id=new_operation_id(), origin=self._origin)

    def _record(self, problem: str) -> None:
        if problem and problem != self.problem:
            _LOG.warning("The bucket or the catalogue is unreachable.", reason=problem)
        if not problem and self.problem:
            _LOG.info("The bucket and the catalogue are reachable.")
        self.problem = problem
        (self._open.clear if problem else self._open.set)()


def _problem(result: EchoResult) -> str:
    if result.status == Status.SUCCESS:
        return ""
    return upstream_error(result) or f"The ingestion service answered {result.status:04X}H."
