"""Each message of transport v1 as a value, and how it is written into headers and a body.

The kind stands in the header `Dimse-Op`. Control bodies are msgpack maps whose unknown keys are
ignored; the body of DATA is the data set's bytes as they are, its offset a header. What a message
makes a side do is not here (see `session`, `sender`, `receiver`, `finding`).
"""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from dimse_ingestion.transport.protocol.messages import (
    EchoRequest,
    EchoResult,
    FindMatch,
    FindOpen,
    FindResult,
    StoreOpen,
    StoreResult,
)

OPERATION = "Dimse-Op"
PROTOCOL = "Dimse-Proto"
OFFSET = "Dimse-Offset"
VERSION = "1"
HEADROOM = 4 * 1024
"""Bytes of a message kept for its headers: one over the server's limit cuts the connection."""
MAXIMUM_CHUNK = 512 * 1024
_MAX_OFFSET_DIGITS = 18  # digits

_Position = Annotated[int, msgspec.Meta(ge=0)]
_Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class MalformedMessage(Exception):
    """A message that is none of transport v1."""


class UnsupportedVersion(MalformedMessage):
    """An open of a version that isn't spoken here."""


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message."""


# Opens, to a service's subject.


class OpenEcho(Message, frozen=True, kw_only=True):
    """C-ECHO."""

    request: EchoRequest


class OpenStore(Message, frozen=True, kw_only=True):
    """C-STORE; `inline` is the whole data set if it fits."""

    open: StoreOpen
    inline: bytes | None = None


class OpenFind(Message, frozen=True, kw_only=True):
    """C-FIND; `limit` batches of matches may be sent before the next credit."""

    open: FindOpen
    limit: _Position


# From the replica, to the inbox of the attempt.


class Accept(Message, frozen=True, kw_only=True, omit_defaults=True):
    """The replica is at work; the session's subject, and the position and limit to go on with."""

    subject: str
    expected: _Position = 0
    limit: _Position = 0
    chunk: _Position = MAXIMUM_CHUNK


class Busy(Message, frozen=True, kw_only=True):
    """Ask again, or ask another, after so many seconds."""

    retry_after: Annotated[float, msgspec.Meta(ge=0, le=60)]


class Reject(Message, frozen=True, kw_only=True):
    """The open can't be served by any replica of this kind."""

    status: int
    comment: str = ""


class Progress(Message, frozen=True):
    """Everything has come and is being worked on."""


class Result(Message, frozen=True, kw_only=True, omit_defaults=True):
    """The end of an operation; `batches` of matches were sent before it."""

    echo: EchoResult | None = None
    store: StoreResult | None = None
    find: FindResult | None = None
    batches: _Position = 0


class Leaving(Message, frozen=True):
    """This replica ends before the operation can: go elsewhere."""


class Unknown(Message, frozen=True):
    """This replica has no such session: go elsewhere."""


class Match(Message, frozen=True, kw_only=True):
    """A numbered batch of matches."""

    number: _Position
    matches: list[FindMatch]


# From the proxy, to the session's subject.


class Data(Message, frozen=True, kw_only=True):
    """Bytes of the data set from `offset` on."""

    offset: _Position
    content: bytes


class End(Message, frozen=True, kw_only=True):
    """Every byte was sent."""

    size: _Position
    sha256: _Digest


class Probe(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Is anybody there? `position` is what was sent (DATA) or taken (MATCH), `limit` a credit."""

    position: _Position = 0
    limit: _Position = 0


class Cancel(Message, frozen=True):
    """C-CANCEL."""


# Either way.


class Credit(Message, frozen=True, kw_only=True):
    """Everything before `expected` has come; positions before `limit` may be sent."""

    expected: _Position
    limit: _Position


class Resume(Message, frozen=True, kw_only=True):
    """Something was lost: go on from `expected`."""

    expected: _Position
    limit: _Position


class Abort(Message, frozen=True, kw_only=True, omit_defaults=True):
    """This side gives the session up."""

    reason: str = ""
    status: int = 0


_OPENS: dict[str, type[Message]] = {"ECHO": OpenEcho, "STORE": OpenStore, "FIND": OpenFind}
_KINDS: dict[str, type[Message]] = _OPENS | {
    kind.__name__.upper(): kind
    for kind in (
        *(Accept, Busy, Reject, Progress, Result, Leaving, Unknown, Match),
        *(Data, End, Probe, Cancel, Credit, Resume, Abort),
    )
}
_NAMES = {kind: name for name, kind in _KINDS.items()}
_ENCODER = msgspec.msgpack.Encoder()
_DECODERS: dict[str, msgspec.msgpack.Decoder[Any]] = {
    name: msgspec.msgpack.Decoder(kind) for name, kind in _KINDS.items()
}


_DECODE_ERRORS = (
    msgspec.MsgspecError,
    ValueError,
    TypeError,
    OverflowError,
    MemoryError,
    RecursionError,  # of keys and values nested without end
)
"""What decoding a hostile body may raise."""


def chunk_size(maximum_payload: int) -> int:
    """Bytes of body a message may have on a connection whose messages have so many in all."""
    return max(1, min(MAXIMUM_CHUNK, maximum_payload - HEADROOM))


def encode(message: Message) -> tuple[dict[str, str], bytes]:
    """Headers and body."""
    name = _NAMES[type(message)]
    if isinstance(message, Data):
        return {OPERATION: name, OFFSET: str(message.offset)}, message.content
    headers = {OPERATION: name}
    if name in _OPENS:
        headers[PROTOCOL] = VERSION
    return headers, _ENCODER.encode(message)


def decode(headers: Mapping[str, str], body: bytes) -> Message:
    """The frame. Raises MalformedFrame."""
    name = headers.get(OPERATION, "")
    if name not in _KINDS:
        raise MalformedMessage("The kind of the message is unknown.")
    if name in _OPENS and headers.get(PROTOCOL) != VERSION:
        raise UnsupportedVersion("The message speaks another version of the protocol.")
    if name == "DATA":
        return Data(offset=_offset(headers.get(OFFSET, "")), content=body)
    try:
        message: Message = _DECODERS[name].decode(body)
    except _DECODE_ERRORS:
        raise MalformedMessage(f"The body of a {name} can't be read.") from None
    return message


def _offset(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= _MAX_OFFSET_DIGITS):
        raise MalformedMessage("A DATA message has no offset.")
    return int(text)
