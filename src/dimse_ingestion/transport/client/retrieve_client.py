"""The proxy's end of the list of a C-MOVE or C-GET: it is read to the end before it is used.

A response has to say how many sub-operations remain (PS3.4 C.4.2.1.6), so nothing is done with an
incomplete list: a lost replica costs another attempt that begins with an empty list.
"""

import sys

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.transport.carrier import Carrier
from dimse_ingestion.transport.client.attempt import Attempt
from dimse_ingestion.transport.client.retry import FinalResult, Operation, Retrier, RetriesExhausted
from dimse_ingestion.transport.protocol.codec import (
    OpenEcho,
    OpenRetrieve,
    Reject,
    chunk_size,
    encode,
)
from dimse_ingestion.transport.protocol.messages import (
    EchoRequest,
    RetrieveInstance,
    RetrieveOpen,
    RetrieveResult,
)
from dimse_ingestion.transport.protocol.retrieve import RetrieveReceiver
from dimse_ingestion.transport.protocol.state import (
    NO_REPLICA,
    AttemptFailed,
    AttemptState,
    Outcome,
)

_OLDER_SERVICE = "Update the ingestion service: it cannot retrieve"


class RetrieveAttempt(Attempt):
    """One attempt of a list; takes each batch at once."""

    machine: RetrieveReceiver

    def __init__(self, carrier: Carrier, inbox: str, machine: RetrieveReceiver) -> None:
        super().__init__(carrier, inbox, machine)
        self.instances: list[RetrieveInstance] = []

    async def _send_flow(self) -> None:
        while self.machine.arrived:
            self.instances += map(_shared, self.machine.arrived[0])
            self._send(self.machine.pop_batch(self._clock()))


class InstanceLister:
    """The attempts of one list."""

    def __init__(self, retrier: Retrier, open_: RetrieveOpen) -> None:
        self._retrier = retrier
        self._open = open_
        self._operation = Operation(
            "retrieve", open_.operation_id, retrier.timeouts.deadline, limits_attempts=False
        )
        self._instances: list[RetrieveInstance] = []

    async def run(self) -> tuple[RetrieveResult, list[RetrieveInstance]]:
        """Return the result, and the instances if it is a success."""
        try:
            result = _to_result(await self._retrier.run(self._operation, self._run_attempt))
        except RetriesExhausted as error:
            result = RetrieveResult(status=Status.UNABLE_TO_COUNT_MATCHES, comment=str(error))
        return result, self._instances if result.status == Status.SUCCESS else []

    async def _run_attempt(self) -> Outcome:
        outcome = await self._list()
        if _has_no_replica(outcome) and await self._echo_is_answered():
            outcome = await self._list()  # a replica that has just started subscribes in turn
            if _has_no_replica(outcome):
                status = Status.UNABLE_TO_PERFORM_SUB_OPERATIONS
                return Reject(status=status, comment=_OLDER_SERVICE)
        return outcome

    async def _list(self) -> Outcome:
        retrier, carrier = self._retrier, self._retrier.carrier
        machine = RetrieveReceiver(retrier.timeouts, retrier.now())
        opening = OpenRetrieve(open=self._open, limit=machine.limit)
        if len(encode(opening)[1]) > chunk_size(carrier.maximum_payload):
            comment = "The identifier is too long"
            return Reject(status=Status.UNABLE_TO_COUNT_MATCHES, comment=comment)
        attempt = RetrieveAttempt(carrier, retrier.inboxes.new(), machine)
        outcome = await retrier.run_attempt(self._operation, attempt, opening)
        await attempt.take_rest()
        self._instances = attempt.instances
        return outcome

    async def _echo_is_answered(self) -> bool:
        """Return whether a replica answers an echo: then the service is there, but older."""
        retrier = self._retrier
        operation = Operation("echo", self._open.operation_id, retrier.timeouts.echo_deadline)
        request = EchoRequest(operation_id=self._open.operation_id, origin=self._open.origin)
        machine = AttemptState(retrier.timeouts, retrier.now())
        attempt = Attempt(retrier.carrier, retrier.inboxes.new(), machine)
        outcome = await retrier.run_attempt(operation, attempt, OpenEcho(request=request))
        return not isinstance(outcome, AttemptFailed) or outcome.replica_answered


def _has_no_replica(outcome: Outcome) -> bool:
    return isinstance(outcome, AttemptFailed) and outcome.reason == NO_REPLICA


def _shared(instance: RetrieveInstance) -> RetrieveInstance:
    """Return an instance whose class and transfer syntax share memory with those of others."""
    return RetrieveInstance(
        sop_class_uid=sys.intern(instance.sop_class_uid),
        sop_instance_uid=instance.sop_instance_uid,
        transfer_syntax_uid=sys.intern(instance.transfer_syntax_uid),
        key=instance.key,
        size=instance.size,
        sha256=instance.sha256,
    )


def _to_result(final: FinalResult) -> RetrieveResult:
    if isinstance(final, Reject):
        return RetrieveResult(status=final.status, comment=final.comment)
    return final.retrieve or RetrieveResult(
        status=Status.PROCESSING_FAILURE, comment="The answer has no result"
    )
