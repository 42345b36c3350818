"""One message of transport v1: its kind in a header, its body msgpack or raw bytes.

Pure encoding. Unknown keys of a body are ignored and unknown kinds are told, so that either side
may be newer. What a message does to a session is `sender`'s and `receiver`'s matter.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import msgspec

from dimse_ingestion.transport.carrier import Delivery
from dimse_ingestion.transport.messages import (
    EchoRequest,
    FindMatch,
    FindOpen,
    StoreOpen,
)

KIND = "Dimse-Op"
PROTOCOL = "Dimse-Proto"
OFFSET = "Dimse-Offset"
VERSION = "1"


class Kind(StrEnum):
    """What a message is."""

    OPEN = "open"
    ACCEPT = "accept"
    BUSY = "busy"
    RESULT = "result"
    DATA = "data"
    END = "end"
    CREDIT = "credit"
    STATE = "state"
    RESUME = "resume"
    PROBE = "probe"
    ABORT = "abort"
    LEAVING = "leaving"
    UNKNOWN = "unknown"
    MATCH = "match"
    CANCEL = "cancel"


class OpenStore(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A C-STORE asked for; `inline` is the whole data set where it is small."""

    open: StoreOpen
    inline: bytes | None = None


class OpenFind(msgspec.Struct, frozen=True, kw_only=True):
    """A C-FIND asked for; `credit` counts the batches that may be sent."""

    open: FindOpen
    credit: int


class OpenEcho(msgspec.Struct, frozen=True, kw_only=True):
    """A C-ECHO asked for."""

    open: EchoRequest


class Accept(msgspec.Struct, frozen=True, kw_only=True):
    """A session is open at `subject`; bytes up to `limit` may be sent, `chunk` at once."""

    subject: str
    limit: int = 0
    chunk: int = 0


class Busy(msgspec.Struct, frozen=True, kw_only=True):
    """No room now; `retry_after` in seconds."""

    retry_after: float


class State(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far a receiver is: `expected` is the next byte (or batch), `limit` what may be sent."""

    expected: int
    limit: int = 0


class End(msgspec.Struct, frozen=True, kw_only=True):
    """All was sent."""

    size: int
    sha256: str


class Abort(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The other end gave up."""

    reason: str = ""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Matches, numbered from 0 without a gap."""

    number: int
    matches: list[FindMatch]


B = TypeVar("B")
_encoder = msgspec.msgpack.Encoder()


class Malformed(Exception):
    """A message that is not one of this protocol; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message; `offset` is DATA's."""

    kind: Kind
    body: bytes = b""
    offset: int = 0
    traceparent: str = ""

    @classmethod
    def of(cls, kind: Kind, content: msgspec.Struct | None = None, **more: str) -> "Frame":
        """A control message."""
        return cls(kind, _encoder.encode(content) if content is not None else b"", **more)  # type: ignore[arg-type]

    def content(self, body_type: type[B]) -> B:
        """The body; raises Malformed."""
        try:
            return msgspec.msgpack.decode(self.body, type=body_type)
        except msgspec.DecodeError as broken:
            raise Malformed(f"The body of {self.kind.value} can't be read: {broken}") from broken

    @property
    def headers(self) -> Mapping[str, str]:
        """As they travel."""
        headers = {KIND: self.kind.value}
        if self.kind is Kind.DATA:
            headers[OFFSET] = str(self.offset)
        if self.kind is Kind.OPEN:
            headers[PROTOCOL] = VERSION
        if self.traceparent:
            headers["traceparent"] = self.traceparent
        return headers


def frame_of(delivery: Delivery) -> Frame:
    """What was delivered; raises Malformed."""
    headers = delivery.headers
    try:
        kind = Kind(headers.get(KIND, ""))
        offset = int(headers.get(OFFSET, "0"))
    except ValueError as broken:
        raise Malformed(f"Not a message of this protocol: {broken}") from broken
    if kind is Kind.OPEN and headers.get(PROTOCOL) != VERSION:
        spoken = headers.get(PROTOCOL, "none")
        raise Malformed(f"The proxy speaks transport {spoken}, this end {VERSION}: update it.")
    return Frame(kind, delivery.body, offset, headers.get("traceparent", ""))
