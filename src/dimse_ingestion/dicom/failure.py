"""The failure that has a DIMSE status of its own, because PS3 names it.

Failures of bucket, catalogue and network are other kinds (`dimse_ingestion.failures`), and get
their status where the response is made (`response_status`).
"""

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import Failure

_COMMENT_LENGTH = 64  # Error Comment (0000,0902) is one LO value, PS3.7 table C.5-1


class DimseFailure(Failure):
    """An operation that failed, with the status and comment to answer."""

    def __init__(self, status: Status, comment: str, *, transient: bool = False) -> None:
        super().__init__(comment, transient=transient)
        self.status = status

    @property
    def error_comment(self) -> str:
        """The public comment as Error Comment carries it: ASCII, at most 64 characters."""
        ascii_only = (
            self.public_comment.encode("ascii", "replace").decode("ascii").replace("\\", "/")
        )
        return ascii_only[:_COMMENT_LENGTH]

    def __str__(self) -> str:
        return f"{self.status:04X}H {self.comment}"
