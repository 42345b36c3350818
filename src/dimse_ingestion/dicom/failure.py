"""The one exception that crosses rooms: an operation that failed, with the answer it deserves.

Foreign errors (NATS, S3, HTTP, SQL) are mapped to it where they are met, so that a door only has
to send `status` and `comment` to the peer. It is not for mistakes in a configuration.
"""

from dimse_ingestion.dicom.status import Status

_COMMENT_LENGTH = 64  # Error Comment (0000,0902) is one LO value, PS3.7 table C.5-1


class DimseFailure(Exception):
    """An operation that can't succeed as asked.

    `transient` says that the same request may succeed later without anybody changing it: the
    transport retries such failures within its budget and gives up on the others at once.
    """

    def __init__(self, status: Status, comment: str, *, transient: bool = False) -> None:
        super().__init__(comment)
        self.status = status
        self.comment = comment
        self.transient = transient

    @property
    def error_comment(self) -> str:
        """The comment as Error Comment carries it: ASCII, at most 64 characters."""
        ascii_only = self.comment.encode("ascii", "replace").decode("ascii").replace("\\", "/")
        return ascii_only[:_COMMENT_LENGTH]

    def __str__(self) -> str:
        return f"{self.status:04X}H {self.comment}"


class OutOfResources(DimseFailure):
    """Something this operation needs is down, full or too slow: the sender may retry (A700)."""

    def __init__(self, comment: str) -> None:
        super().__init__(Status.OUT_OF_RESOURCES, comment, transient=True)
