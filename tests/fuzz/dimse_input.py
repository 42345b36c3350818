"""Associations for a DIMSE service: recorded ones, changed in PDUs, in values or in order."""

import random
import socket
import struct
from collections.abc import Iterator, Sequence

from tests.fuzz.mutation import UNCHANGED, mutate

_HEADER = struct.Struct(">BxI")
_P_DATA_TF = 4
_ASSOCIATE_RQ = 1
_PATIENCE = 0.3
_LARGEST = 2**20
WORDS = (
    *(b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.5.1.4.1.1.2"),
    *(b"\xe0\x7f\x10\x00OW\x00\x00\xff\xff\xff\xff", b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100"),
    *(b"SQ\x00\x00\xff\xff\xff\xff", b"UN\x00\x00\xff\xff\xff\xff"),
    *(b"\xfe\xff\x00\xe0\xff\xff\xff\xff", b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"),
    *(b"\xfe\xff\x00\xe0\x00\x00\x00\x00" * 20_000, b"\xfe\xff\x0d\xe0\x00\x00\x00\x00" * 500),
    *(b"*", b"?", b"\\", b"^*" * 40, b"\x1b$)C", b"20200101-", b"\x10\x00\x10\x00PN\x04\x00A^*="),
)

Conversation = list[bytes]
"""The PDUs that a client sends, in order."""


def pdus(stream: bytes) -> Conversation:
    """Split a recorded stream into its PDUs; the rest is the last of them."""
    match = []
    while len(stream) >= _HEADER.size:
        length = _HEADER.size + _HEADER.unpack_from(stream)[1]
        match.append(stream[:length])
        stream = stream[length:]
    return match + ([stream] if stream else [])


def changed(choices: random.Random, corpus: Sequence[bytes]) -> Conversation:
    """Return one recorded association with changes of one kind, or now and then as it is."""
    conversation = pdus(choices.choice(corpus))
    if choices.random() < UNCHANGED:
        return conversation
    kinds = (_with_pdu_changed, _with_body_changed, _reordered, *[_with_values_changed] * 2)
    return choices.choice(kinds)(choices, conversation)


def _with_pdu_changed(choices: random.Random, conversation: Conversation) -> Conversation:
    at = choices.randrange(len(conversation))
    conversation[at] = mutate(choices, conversation[at], WORDS)
    return conversation


def _with_body_changed(choices: random.Random, conversation: Conversation) -> Conversation:
    """Return a PDU whose own length is right, whatever is in it."""
    at = choices.randrange(len(conversation))
    kind, body = conversation[at][0], mutate(choices, conversation[at][_HEADER.size :], WORDS)
    conversation[at] = _HEADER.pack(kind, len(body)) + body
    return conversation


def _with_values_changed(choices: random.Random, conversation: Conversation) -> Conversation:
    """Change command sets or data sets; all lengths of the upper layer are right."""
    carrying = [at for at, pdu in enumerate(conversation) if pdu[0] == _P_DATA_TF]
    if not carrying:
        return _with_body_changed(choices, conversation)
    at = choices.choice(carrying)
    values = [*_pdvs(conversation[at])]
    chosen = choices.randrange(len(values))
    head, value = values[chosen]
    values[chosen] = head, mutate(choices, value, WORDS)[:_LARGEST]
    body = b"".join(struct.pack(">I", len(v) + 2) + head + v for head, v in values)
    conversation[at] = _HEADER.pack(_P_DATA_TF, len(body)) + body
    return conversation


def _pdvs(pdu: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = _HEADER.size
    while at + 6 <= len(pdu):
        (length,) = struct.unpack_from(">I", pdu, at)
        yield pdu[at + 4 : at + 6], pdu[at + 6 : at + 4 + length]
        at += 4 + length


def _reordered(choices: random.Random, conversation: Conversation) -> Conversation:
    for _ in range(choices.randint(1, 4)):
        pdu = choices.choice(conversation)
        at = choices.randint(0, len(conversation))
        conversation[at:at] = [pdu] * choices.choice((1, 1, 20))
        del conversation[choices.randrange(len(conversation))]
    return conversation


def play(address: tuple[str, int], conversation: Conversation) -> bytes:
    """Send an association as a client would, and return what came back."""
    answer = b""
    with socket.create_connection(address, timeout=10) as peer:
        try:
            for pdu in conversation:
                peer.settimeout(10)
                peer.sendall(pdu)
                if pdu[:1] == bytes([_ASSOCIATE_RQ]):
                    answer += _received(peer)
            answer += _received(peer)
        except OSError:
            pass  # the service may close or abort at any point
    return answer


def _received(peer: socket.socket) -> bytes:
    peer.settimeout(_PATIENCE)
    try:
        return peer.recv(65536)
    except OSError:
        return b""
