"""Syslog messages (RFC 5424) as PS3.15 A.6 profiles them, and their frames on TLS (RFC 5425).

The message begins with a byte order mark, as RFC 5424 6.4 requires of UTF-8. There is no structured
data. Sending is in `repository`.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from dimse_ingestion.audit.codes import Outcome

_FACILITY = 10  # security/authorization
_NOTICE, _WARNING = 5, 4  # severities
_MESSAGE_ID = "DICOM+RFC3881"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NOT_PRINTABLE = re.compile(r"[^!-~]")


@dataclass(frozen=True, slots=True)
class Origin:
    """The process that sends: its host's name, the name of its program, and its process id."""

    host: str
    application: str
    process_id: int


def encode(origin: Origin, time: datetime, outcome: Outcome, content: bytes) -> bytes:
    """Return a syslog message whose MSG is `content`."""
    severity = _NOTICE if outcome is Outcome.SUCCESS else _WARNING
    timestamp = time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    fields = (
        f"<{_FACILITY * 8 + severity}>1",
        timestamp,
        _name(origin.host, 255),
        _name(origin.application, 48),
        str(origin.process_id),
        _MESSAGE_ID,
        "-",
    )
    return " ".join(fields).encode("ascii") + b" " + _BYTE_ORDER_MARK + content


def frame(message: bytes) -> bytes:
    """Return a message as a frame of RFC 5425 4.3: its length in octets, a space, itself."""
    return b"%d %b" % (len(message), message)


def _name(text: str, longest: int) -> str:
    """Return text as a field of the header; a dash where there is none (NILVALUE)."""
    return _NOT_PRINTABLE.sub("_", text)[:longest] or "-"
