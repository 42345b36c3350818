"""Failures of a request, by kind: what went wrong, in the words of neither DIMSE nor HTTP.

Errors of NATS, S3, HTTP and SQL are mapped to a kind where they occur. Where an answer is made, the
kind becomes a DIMSE status (`dicom.response_status`) or an HTTP status (`dicomweb.http.problems`,
`catalogue.http_api`). Violations of PS3 have a status of their own (`dicom.failure`), and
configuration mistakes another error type.
"""

import re

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


def redact(sentence: str) -> str:
    """Return a sentence without addresses, hosts, paths and NATS subjects of this system."""
    return _INSIDE.sub("", sentence).strip()


class Failure(Exception):
    """A request that failed, with a sentence that says why; raised as one of its kinds.

    `transient` says that the same request may succeed later without anybody changing it: the
    transport retries such failures within its budget and gives up on the others at once.
    """

    def __init__(self, comment: str, *, transient: bool = False) -> None:
        super().__init__(comment)
        self.comment = comment
        self.transient = transient

    @property
    def public_comment(self) -> str:
        """The comment without addresses, hosts, paths and subjects of this system.

        A comment is written for the operator who reads logs and probes, and may repeat the text of
        a foreign error. What is answered to a DIMSE or HTTP client is this.
        """
        return redact(self.comment)


class Unavailable(Failure):
    """Something that the request needs is down, slow, full or not ready: always transient."""

    def __init__(self, comment: str) -> None:
        super().__init__(comment, transient=True)


class Refused(Failure):
    """A peer refuses the request."""


class AccessDenied(Refused):
    """A peer refuses the request because of the credential or its permissions."""


class Invalid(Failure):
    """The request or its data breaks a rule."""


class LimitExceeded(Failure):
    """The request or its result is larger than a limit allows, now and later."""
