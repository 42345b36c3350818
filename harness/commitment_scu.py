"""An SCU of storage commitment, pynetdicom's: requests, and takes the reports.

Reports come on new associations to its own port, or on that of the request. Nothing of the product
here.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom import Dataset
from pydicom.uid import UID, generate_uid
from pynetdicom import AE, evt

from harness.modalities import Peer

STORAGE_COMMITMENT = UID("1.2.840.10008.1.20.1")
INSTANCE = UID("1.2.840.10008.1.20.1.1")
_LONGEST_WAIT = 60.0


@dataclass(frozen=True)
class Report:
    """An N-EVENT-REPORT as the SCU received it."""

    transaction_uid: str
    event_type_id: int
    committed: list[str]
    """SOP Instance UIDs."""
    failed: dict[str, int]
    """SOP Instance UID → Failure Reason."""
    sop_instance_uid: str
    calling_ae_title: str
    """The title that called on the association of the report."""
    is_scp_role: bool
    """Whether the requestor of that association had the role of SCP."""


@dataclass
class CommitmentScu:
    """An AE that requests storage commitment of `archive`; reports arrive in `received`."""

    archive: Peer
    answer: int = 0
    """The status with which reports are answered."""
    received: list[Report] = field(default_factory=list)
    """All reports, in the order in which they came."""
    _arrival: threading.Condition = field(default_factory=threading.Condition)

    def request(
        self,
        references: Sequence[tuple[str, str]],
        transaction_uid: str = "",
        *,
        action_type_id: int = 1,
        sop_instance_uid: str = INSTANCE,
        stay: bool = False,
    ) -> tuple[int, str]:
        """Send an N-ACTION; return its status and the Transaction UID.

        With `stay`, the association is released only after a report has come.
        """
        transaction_uid = transaction_uid or generate_uid()
        ae = AE(ae_title=self.archive.calling)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = _LONGEST_WAIT
        ae.add_requested_context(STORAGE_COMMITMENT)
        association = ae.associate(
            self.archive.host,
            self.archive.port,
            ae_title=self.archive.called,
            evt_handlers=[(evt.EVT_N_EVENT_REPORT, self._take)],
        )
        if not association.is_established:
            raise ConnectionError("the association was not accepted")
        try:
            response, _ = association.send_n_action(
                _action_information(references, transaction_uid),
                action_type_id,
                STORAGE_COMMITMENT,
                UID(sop_instance_uid),
            )
            if stay:
                self.report(transaction_uid)
        finally:
            association.release()
        return int(response.get("Status", -1)), transaction_uid

    def report(self, transaction_uid: str, seconds: float = _LONGEST_WAIT) -> Report:
        """Return the first report of a transaction. Raises TimeoutError when none comes."""
        return self.reports(transaction_uid, 1, seconds)[0]

    def reports(
        self, transaction_uid: str, count: int, seconds: float = _LONGEST_WAIT
    ) -> list[Report]:
        """Return the reports of a transaction. Raises TimeoutError when fewer than `count` come."""
        with self._arrival:
            if not self._arrival.wait_for(lambda: len(self._of(transaction_uid)) >= count, seconds):
                raise TimeoutError(f"no report of transaction {transaction_uid} in {seconds} s")
            return self._of(transaction_uid)

    @contextmanager
    def listening(self, port: int) -> Iterator[None]:
        """Take reports on new associations within the block."""
        ae = AE(ae_title=self.archive.calling)
        ae.add_supported_context(STORAGE_COMMITMENT, scu_role=False, scp_role=True)
        server: Any = ae.start_server(
            ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, self._take)]
        )
        try:
            yield
        finally:
            server.shutdown()

    def _take(self, event: Any) -> tuple[int, None]:
        information = event.event_information
        requestor = event.assoc.requestor
        failed = information.get("FailedSOPSequence") or []
        committed = information.get("ReferencedSOPSequence") or []
        report = Report(
            transaction_uid=str(information.TransactionUID),
            event_type_id=int(event.event_type),
            committed=[str(each.ReferencedSOPInstanceUID) for each in committed],
            failed={str(each.ReferencedSOPInstanceUID): int(each.FailureReason) for each in failed},
            sop_instance_uid=str(event.request.AffectedSOPInstanceUID),
            calling_ae_title=str(requestor.ae_title),
            is_scp_role=any(
                role.scp_role for role in event.assoc.requestor.role_selection.values()
            ),
        )
        with self._arrival:
            self.received.append(report)
            self._arrival.notify_all()
        return self.answer, None

    def _of(self, transaction_uid: str) -> list[Report]:
        return [each for each in self.received if each.transaction_uid == transaction_uid]


def _action_information(references: Sequence[tuple[str, str]], transaction_uid: str) -> Dataset:
    data_set = Dataset()
    data_set.TransactionUID = transaction_uid
    data_set.ReferencedSOPSequence = []
    for sop_class_uid, sop_instance_uid in references:
        item = Dataset()
        item.ReferencedSOPClassUID = sop_class_uid
        item.ReferencedSOPInstanceUID = sop_instance_uid
        data_set.ReferencedSOPSequence.append(item)
    return data_set
