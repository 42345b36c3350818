"""The counts of a retrieve's sub-operations, and the statuses they lead to (PS3.4 C.4.2, C.4.3)."""

from dataclasses import dataclass, field

from dimse_ingestion.dicom.elements import element
from dimse_ingestion.dicom.encoder import encode
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.dicom.uids import IMPLICIT_VR_LITTLE_ENDIAN
from dimse_ingestion.upper_layer.services import SubOperationCounts

_WARNINGS = frozenset({0xB000, 0xB006, 0xB007, Status.DUPLICATE_SOP_INSTANCE})  # PS3.4 B.2.3
_FAILED_SOP_INSTANCE_UID_LIST = 0x00080058
_LONGEST_VALUE = 0xFFFE  # bytes of a UI value in an explicit VR, PS3.5 7.1.2


def is_completed(status: int | None) -> bool:
    """Return whether a sub-operation with this status, None without one, has stored its object."""
    return status == Status.SUCCESS or status in _WARNINGS


@dataclass(slots=True)
class SubOperations:
    """The sub-operations of one C-MOVE or C-GET."""

    total: int
    completed: int = 0
    warned: int = 0
    failed_uids: list[str] = field(default_factory=list)

    @property
    def remaining(self) -> int:
        """The number of sub-operations that have not ended."""
        return self.total - self.completed - self.warned - len(self.failed_uids)

    def add(self, sop_instance_uid: str, status: int | None) -> str:
        """Count a sub-operation that ended with a status, or without any; return its outcome."""
        if status == Status.SUCCESS:
            self.completed += 1
            return "completed"
        if status in _WARNINGS:
            self.warned += 1
            return "warned"
        self.failed_uids.append(sop_instance_uid)
        return "failed"

    @property
    def counts(self) -> SubOperationCounts:
        """The counts of a pending response, or of one to a C-CANCEL."""
        return SubOperationCounts(
            self.completed, len(self.failed_uids), self.warned, self.remaining
        )

    @property
    def final_counts(self) -> SubOperationCounts:
        """The counts of a final response, which has no Number of Remaining Sub-operations."""
        return SubOperationCounts(self.completed, len(self.failed_uids), self.warned)

    @property
    def final_status(self) -> Status:
        """The status after the last sub-operation (PS3.4 tables C.4-2 and C.4-3)."""
        if self.failed_uids and len(self.failed_uids) == self.total:
            return Status.UNABLE_TO_PERFORM_SUB_OPERATIONS
        if self.failed_uids or self.warned:
            return Status.SUB_OPERATIONS_WITH_FAILURES
        return Status.SUCCESS

    def failed_list(self, transfer_syntax_uid: str) -> bytes | None:
        """Return the identifier with the Failed SOP Instance UID List, or None if none failed.

        In an explicit VR a value of UI has at most 65534 bytes: the list has as many UIDs as fit.
        """
        if not self.failed_uids:
            return None
        text = "\\".join(self.failed_uids)
        if transfer_syntax_uid != IMPLICIT_VR_LITTLE_ENDIAN and len(text) > _LONGEST_VALUE:
            text = text[: _LONGEST_VALUE + 1].rpartition("\\")[0]
        return encode([element(_FAILED_SOP_INSTANCE_UID_LIST, "UI", text)], transfer_syntax_uid)
