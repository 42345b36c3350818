"""The error of an operation, with the DIMSE status and comment to answer.

Errors of NATS, S3, HTTP and SQL are mapped to it where they occur, so that a service only sends
`status` and `comment` to the peer. Configuration mistakes have another error type.
"""

import re

from dimse_ingestion.dicom.status import Status

_INSIDE = re.compile(
    r"(?:\s+(?:at|below|to|for|of))?\s*[(']?(?:"
    r"[a-z][a-z0-9+.-]*://[^\s)\"']*"  # a URL
    r"|(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?(?![\w.]\w)"  # an IPv4 address
    r"|\b[a-z][\w-]*(?:\.[\w-]+)*:\d{1,5}\b"  # host:port
    r"|(?<![\w/])(?:/[\w~+@-][\w.~+@-]*){2,}(?<!\.)/?"  # an absolute path
    r"|\b[\w-]+\.v1\.[\w.*>-]+"  # a NATS subject
    r")[)']?",
    re.IGNORECASE,
)
"""Internal addresses, with the preposition and brackets around each."""

_COMMENT_LENGTH = 64  # Error Comment (0000,0902) is one LO value, PS3.7 table C.5-1


def redact(sentence: str) -> str:
    """Return a sentence without addresses, hosts, paths and NATS subjects of this system."""
    return _INSIDE.sub("", sentence).strip()


class DimseFailure(Exception):
    """An operation that failed, with the status and comment to answer.

    `transient` says that the same request may succeed later without anybody changing it: the
    transport retries such failures within its budget and gives up on the others at once.
    """

    def __init__(self, status: Status, comment: str, *, transient: bool = False) -> None:
        super().__init__(comment)
        self.status = status
        self.comment = comment
        self.transient = transient

    @property
    def public_comment(self) -> str:
        """The comment without addresses, hosts, paths and subjects of this system.

        A comment is written for the operator who reads logs and probes, and may repeat the text of
        a foreign error. What is answered to a DIMSE or HTTP client is this.
        """
        return redact(self.comment)

    @property
    def error_comment(self) -> str:
        """The public comment as Error Comment carries it: ASCII, at most 64 characters."""
        ascii_only = (
            self.public_comment.encode("ascii", "replace").decode("ascii").replace("\\", "/")
        )
        return ascii_only[:_COMMENT_LENGTH]

    def __str__(self) -> str:
        return f"{self.status:04X}H {self.comment}"


class OutOfResources(DimseFailure):
    """Something this operation needs is down, full or too slow: the sender may retry (A700)."""

    def __init__(self, comment: str) -> None:
        super().__init__(Status.OUT_OF_RESOURCES, comment, transient=True)
