"""The messages of transport v1, and their encoding into NATS headers and a body.

The header `Dimse-Op` names the kind of a message. The body of a control message is a msgpack map
whose unknown keys are ignored; the body of DATA is a piece of the data set, unchanged or as a frame
(see `compression`), with its offset in a header. How each side reacts to a message is in `state`,
`store_sender`, `store_receiver`, `batches` and `fetch`.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from dimse_ingestion.transport.protocol.compression import CompressedPiece
from dimse_ingestion.transport.protocol.messages import (
    CommitOpen,
    CommitResult,
    EchoRequest,
    EchoResult,
    FetchOpen,
    FetchResult,
    FindMatch,
    FindOpen,
    FindResult,
    RetrieveInstance,
    RetrieveOpen,
    RetrieveResult,
    StoreOpen,
    StoreResult,
)

OPERATION = "Dimse-Op"
PROTOCOL = "Dimse-Proto"
OFFSET = "Dimse-Offset"
BLOCKED = "Dimse-Blocked"
ZSTD = "Dimse-Zstd"
VERSION = "1"
HEADROOM = 4 * 1024
"""Bytes of a message reserved for headers: the server closes a connection that sends more than
its maximum payload."""
MAXIMUM_CHUNK = 512 * 1024
MAXIMUM_INLINE = 1024 * 1024
"""Bytes of an open with its data set: as much as a server's usual maximum payload takes."""
INLINE_IN_FLIGHT = 16 * 1024 * 1024
"""Bytes of all data sets of a proxy that travel with their opens at once: they need no credit, and
a replica for which too many bytes are pending is disconnected."""
_MAX_DIGITS = 18  # of a position

_Position = Annotated[int, msgspec.Meta(ge=0)]
_Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class MalformedMessage(Exception):
    """A received message is not a valid message of transport v1."""


class UnsupportedVersion(MalformedMessage):
    """An open has a protocol version that this side does not support."""


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base class of all messages."""


# Opens, sent to the subject of a service.


class OpenEcho(Message, frozen=True, kw_only=True):
    """Open a C-ECHO."""

    request: EchoRequest


class OpenStore(Message, frozen=True, kw_only=True):
    """Open a C-STORE; `inline` is the whole data set if it fits into the message.

    `inline_zstd` is the same as a frame, for a service that offers it. An older replica ignores it
    and takes the data set in a session.
    """

    open: StoreOpen
    inline: bytes | None = None
    inline_zstd: bytes | None = None


class OpenFind(Message, frozen=True, kw_only=True):
    """Open a C-FIND; `limit` batches of matches may be sent before the next credit."""

    open: FindOpen
    limit: _Position


class OpenCommit(Message, frozen=True, kw_only=True):
    """Open a check of a storage commitment's references."""

    open: CommitOpen


class OpenRetrieve(Message, frozen=True, kw_only=True):
    """Open the list of a C-MOVE or C-GET; `limit` batches may be sent before the next credit."""

    open: RetrieveOpen
    limit: _Position


class OpenFetch(Message, frozen=True, kw_only=True):
    """Open a transfer of one data set; bytes before `limit` may be sent before the next credit."""

    open: FetchOpen
    limit: _Position


# Sent by the replica to the inbox of the attempt.


class Accept(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Accept the operation: give the session's subject, the position and the limit.

    `encodings` are those of DATA that this replica expands.
    """

    subject: str
    expected: _Position = 0
    limit: _Position = 0
    chunk: _Position = MAXIMUM_CHUNK
    encodings: tuple[str, ...] = ()


class Busy(Message, frozen=True, kw_only=True):
    """Decline for now: this or another replica may be tried after `retry_after` seconds."""

    retry_after: Annotated[float, msgspec.Meta(ge=0, le=60)]


class Reject(Message, frozen=True, kw_only=True):
    """Decline for good: no replica of this version can serve the open."""

    status: int
    comment: str = ""


class Progress(Message, frozen=True):
    """Report that the operation is still being processed."""


class Result(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Give the result of an operation; `batches` of matches or instances were sent before it.

    `encodings` of an echo or store are those of ACCEPT, which a short operation does without.
    """

    echo: EchoResult | None = None
    store: StoreResult | None = None
    find: FindResult | None = None
    commit: CommitResult | None = None
    retrieve: RetrieveResult | None = None
    fetch: FetchResult | None = None
    batches: _Position = 0
    encodings: tuple[str, ...] = ()


class Leaving(Message, frozen=True):
    """Report that this replica shuts down before the operation ends: use another replica."""


class Unknown(Message, frozen=True):
    """Report that this replica has no such session: use another replica."""


class Match(Message, frozen=True, kw_only=True):
    """Carry a numbered batch of matches."""

    number: _Position
    matches: list[FindMatch]


class Instances(Message, frozen=True, kw_only=True):
    """Carry a numbered batch of instances to retrieve."""

    number: _Position
    instances: list[RetrieveInstance]


# Sent by the proxy to the session's subject; DATA of a fetch by the replica.


class Data(Message, frozen=True, kw_only=True):
    """Carry bytes of the data set, starting at `offset`.

    `blocked`: there are more bytes, and the sender has no credit for them. With a `size`, `content`
    is a frame of so many bytes of the data set.
    """

    offset: _Position
    content: bytes
    blocked: bool = False
    size: _Position = 0

    @property
    def piece(self) -> "bytes | CompressedPiece":
        """Return the bytes, or the frame that has them."""
        return CompressedPiece(self.content, self.size) if self.size else self.content


class End(Message, frozen=True, kw_only=True):
    """Report that every byte was sent."""

    size: _Position
    sha256: _Digest


class Probe(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Ask for the replica's state.

    `position` is the number of bytes sent (DATA of a store) or received (DATA of a fetch), or of
    batches received (MATCH, INSTANCES), `limit` a credit.
    """

    position: _Position = 0
    limit: _Position = 0


class Cancel(Message, frozen=True):
    """Forward a C-CANCEL."""


# Sent by either side.


class Credit(Message, frozen=True, kw_only=True):
    """Confirm everything before `expected`, and allow positions before `limit` to be sent."""

    expected: _Position
    limit: _Position


class Resume(Message, frozen=True, kw_only=True):
    """Report a loss: the sender continues from `expected`."""

    expected: _Position
    limit: _Position


class Abort(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Give the session up."""

    reason: str = ""
    status: int = 0


_OPENS: dict[str, type[Message]] = {
    "ECHO": OpenEcho,
    "STORE": OpenStore,
    "FIND": OpenFind,
    "COMMIT": OpenCommit,
    "RETRIEVE": OpenRetrieve,
    "FETCH": OpenFetch,
}
_KINDS: dict[str, type[Message]] = _OPENS | {
    kind.__name__.upper(): kind
    for kind in (
        *(Accept, Busy, Reject, Progress, Result, Leaving, Unknown, Match, Instances),
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
    RecursionError,  # from deeply nested keys and values
)
"""Exceptions that decoding a hostile body may raise."""


def chunk_size(maximum_payload: int) -> int:
    """Return how many bytes of body fit into a message of at most `maximum_payload` bytes."""
    return max(1, min(MAXIMUM_CHUNK, maximum_payload - HEADROOM))


def inline_size(maximum_payload: int) -> int:
    """Return how many bytes of body an open may have on a connection with that payload."""
    return max(1, min(MAXIMUM_INLINE, maximum_payload - HEADROOM))


def encode(message: Message) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body of a message."""
    name = _NAMES[type(message)]
    if isinstance(message, Data):
        position = {OPERATION: name, OFFSET: str(message.offset)}
        if message.blocked:
            position[BLOCKED] = "1"
        if message.size:
            position[ZSTD] = str(message.size)
        return position, message.content
    headers = {OPERATION: name}
    if name in _OPENS:
        headers[PROTOCOL] = VERSION
    return headers, _ENCODER.encode(message)


def decode(headers: Mapping[str, str], body: bytes) -> Message:
    """Return the message that the headers and the body encode. Raises MalformedMessage."""
    name = headers.get(OPERATION, "")
    if name not in _KINDS:
        raise MalformedMessage("The kind of the message is unknown.")
    if name in _OPENS and headers.get(PROTOCOL) != VERSION:
        raise UnsupportedVersion("The message has another version of the protocol.")
    if name == "DATA":
        return _data(headers, body)
    try:
        message: Message = _DECODERS[name].decode(body)
    except _DECODE_ERRORS:
        raise MalformedMessage(f"The body of a {name} can't be read.") from None
    return message


def _data(headers: Mapping[str, str], body: bytes) -> Data:
    offset = _number(headers.get(OFFSET, ""), "offset")
    size = _number(headers[ZSTD], "size") if ZSTD in headers else 0
    if ZSTD in headers and size <= len(body):  # a queue of them must not outgrow the credit
        raise MalformedMessage("A compressed DATA message is not shorter than its bytes.")
    return Data(offset=offset, content=body, blocked=BLOCKED in headers, size=size)


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS):
        raise MalformedMessage(f"A DATA message has no {name}.")
    return int(text)
