"""One C-MOVE or C-GET under way: its sub-operations in order, its pending and final responses.

PS3.4 C.4.2 and C.4.3. The list of instances and the right to retrieve are checked before (see
`service`); a C-CANCEL, or the end of the requestor's association, lets the sub-operation under way
end and begins no other. A data set that is still being fetched, or decoded, is then given up.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

from dimse_ingestion.background_tasks import background_tasks
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.dicom.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from dimse_ingestion.failures import Failure
from dimse_ingestion.observability import metrics
from dimse_ingestion.proxy.retrieve.opener import FetchOpener
from dimse_ingestion.proxy.retrieve.prefetch import (
    FetchedDataSet,
    Planned,
    PrefetchBudget,
    prefetched,
)
from dimse_ingestion.proxy.retrieve.sender import NotBegun, SubOperationSender
from dimse_ingestion.proxy.retrieve.sub_operations import SubOperations
from dimse_ingestion.proxy.retrieve.unsent import UnsentInstances
from dimse_ingestion.transport.contract import TransportClient
from dimse_ingestion.transport.protocol.messages import Origin, RetrieveInstance
from dimse_ingestion.upper_layer.services import Message

_CONVERTED = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
"""Transfer syntaxes into which the service may convert, the preferred one first."""
MAXIMUM_CONVERTED = 512 * 2**20
"""Bytes of the largest data set that is not sent as it is stored."""


def chosen_syntax(instance: RetrieveInstance, accepted: Sequence[str]) -> str:
    """Return the transfer syntax to send an instance in, or nothing if none is possible."""
    if instance.transfer_syntax_uid in accepted:
        return instance.transfer_syntax_uid
    if instance.size > MAXIMUM_CONVERTED:
        return ""
    return next((each for each in _CONVERTED if each in accepted), "")


class Retrieval:
    """Perform the sub-operations of one request of `space`; `service` is get or move."""

    def __init__(
        self,
        service: str,
        client: TransportClient,
        sender: SubOperationSender,
        message: Message,
        origin: Origin,
        pending_interval: float,
        space: str,
        budget: PrefetchBudget,
    ) -> None:
        self._service = service
        self._opener = FetchOpener(client, origin)
        self._sender = sender
        self._message = message
        self._pending_interval = pending_interval
        self._space = space
        self._budget = budget
        self._last_pending = float("-inf")
        self._buffering: asyncio.Timeout | None = None
        self._unsent = UnsentInstances(service)
        self.sub_operations = SubOperations(0)

    async def run(self, instances: Sequence[RetrieveInstance]) -> tuple[Status, str]:
        """Send the instances; return the final status and its comment."""
        self.sub_operations = SubOperations(len(instances))
        if not instances:
            return Status.SUCCESS, ""
        await self._send_pending()
        try:
            async with self._long_ones_reported():
                ordered = await self._sender.open(instances)
                await self._send_all(self._plan(ordered))
        except Failure as failure:
            self._fail_rest(instances, failure)
        finally:
            await self._sender.close()
            self._unsent.log()
        return self._ending()

    def _ending(self) -> tuple[Status, str]:
        """Return the final status and its comment.

        When this side has aborted the requestor's association, nobody gets the response, and nobody
        has cancelled: the status is then that of a failure, for the log and the metrics.
        """
        ended, aborted = self.sub_operations, self._message.association.aborted
        if aborted and (ended.remaining or ended.failed_uids):
            comment = f"The association of the requestor was aborted here. {aborted}"
            return Status.UNABLE_TO_PERFORM_SUB_OPERATIONS, comment
        if self._message.cancelled.is_set() and ended.remaining:
            return Status.CANCEL, ""
        return ended.final_status, self._unsent.comment

    def _plan(self, instances: Sequence[RetrieveInstance]) -> list[Planned]:
        """Return what is to be sent; an instance without a transfer syntax fails at once."""
        plan = []
        for instance in instances:
            if syntax := chosen_syntax(instance, self._sender.transfer_syntaxes(instance)):
                plan.append(Planned(instance, syntax))
            else:
                self._count(instance, None, self._sender.refusal(instance))
        return plan

    async def _send_all(self, plan: list[Planned]) -> None:
        async with (
            background_tasks(self._watch_for_cancel(), name="watch for C-CANCEL"),
            aclosing(prefetched(plan, self._opener, self._budget)) as data_sets,
        ):
            async for planned, data_set in data_sets:
                if self._message.cancelled.is_set():
                    return
                await self._send(planned, data_set)
                await self._send_pending_when_due()

    @asynccontextmanager
    async def _long_ones_reported(self) -> AsyncIterator[None]:
        """Report while the block waits for an association or for a sub-operation, where it may."""
        if not self._sender.is_separate:
            yield
            return
        async with background_tasks(self._report(), name="pending responses"):
            yield

    async def _report(self) -> None:
        """Send a pending response whenever none was sent for the interval."""
        loop = asyncio.get_running_loop()
        while self.sub_operations.remaining:
            await asyncio.sleep(self._last_pending + self._pending_interval - loop.time())
            await self._send_pending_when_due()

    async def _send(self, planned: Planned, data_set: FetchedDataSet) -> None:
        instance = planned.instance
        try:
            if not await self._is_buffered(data_set):
                return
            status = await self._sender.store(instance, planned.transfer_syntax_uid, data_set)
        except NotBegun:
            return
        except Failure as failure:
            self._unsent.report_object(instance, failure)
            self._count(instance, None, failure.comment)
        else:
            self._count(instance, status, f"The receiver answered {status:04X}H")

    async def _is_buffered(self, data_set: FetchedDataSet) -> bool:
        """Wait until a data set can be sent; return False at once when a C-CANCEL comes before.

        A data set may wait long for its pixels to be decoded. Raises Failure.
        """
        if self._message.cancelled.is_set():
            return False
        self._buffering = asyncio.timeout(None)
        try:
            async with self._buffering:
                await data_set.wait_until_buffered()
        except TimeoutError:
            if not self._buffering.expired():
                raise
        finally:
            self._buffering = None
        return not self._message.cancelled.is_set()

    async def _watch_for_cancel(self) -> None:
        """End the wait for a data set when a C-CANCEL comes."""
        await self._message.cancelled.wait()
        if self._buffering is not None:
            self._buffering.reschedule(asyncio.get_running_loop().time())

    def _count(self, instance: RetrieveInstance, status: int | None, reason: str) -> None:
        outcome = self.sub_operations.add(instance.sop_instance_uid, status)
        metrics.proxy_sub_operations.labels(self._service, outcome, self._space).inc()
        if outcome != "completed":
            self._unsent.add(instance, reason)

    def _fail_rest(self, instances: Sequence[RetrieveInstance], failure: Failure) -> None:
        """Count every instance as failed: the receiver can't be reached."""
        failed = set(self.sub_operations.failed_uids)
        for instance in instances:
            if instance.sop_instance_uid not in failed:
                self._count(instance, None, failure.comment)

    async def _send_pending_when_due(self) -> None:
        now = asyncio.get_running_loop().time()
        if self.sub_operations.remaining and now - self._last_pending >= self._pending_interval:
            await self._send_pending()

    async def _send_pending(self) -> None:
        self._last_pending = asyncio.get_running_loop().time()
        await self._message.respond(Status.PENDING, sub_operations=self.sub_operations.counts)
