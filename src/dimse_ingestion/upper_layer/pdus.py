"""PDU types, the codec of the fixed-length PDUs, and the protocol error (PS3.8 9.3).

A-ASSOCIATE-RQ and -AC are in `proposals`, P-DATA-TF in `pdata`.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

from dimse_ingestion.upper_layer.services import Rejection

HEADER = struct.Struct(">BxI")
"""PDU type and length of what follows (PS3.8 9.3.1)."""

_FIXED = struct.Struct(">BxIxBBB")  # A-ASSOCIATE-RJ, A-RELEASE-RQ and -RP, A-ABORT: ten bytes
_FIXED_LENGTH = 4
_REASON = 3  # offset of the reason in what follows the header of an A-ABORT
_SOURCE = 2
_RESULT = 1


class PduType(IntEnum):
    """Type of a PDU (PS3.8 9.3.2 to 9.3.8)."""

    __hash__ = int.__hash__  # that of an Enum is a Python function

    ASSOCIATE_RQ = 0x01
    ASSOCIATE_AC = 0x02
    ASSOCIATE_RJ = 0x03
    P_DATA_TF = 0x04
    RELEASE_RQ = 0x05
    RELEASE_RP = 0x06
    ABORT = 0x07


class AbortSource(IntEnum):
    """Source of an A-ABORT (PS3.8 table 9-26)."""

    USER = 0
    PROVIDER = 2


class AbortReason(IntEnum):
    """Reason of an A-ABORT by the provider (PS3.8 table 9-26)."""

    NOT_SPECIFIED = 0
    UNRECOGNIZED_PDU = 1
    UNEXPECTED_PDU = 2
    UNRECOGNIZED_PDU_PARAMETER = 4
    UNEXPECTED_PDU_PARAMETER = 5
    INVALID_PDU_PARAMETER_VALUE = 6


class ProtocolError(Exception):
    """The peer violated PS3.8 or PS3.7; `reason` is for the A-ABORT, `explanation` for the log."""

    def __init__(self, reason: AbortReason, explanation: str) -> None:
        super().__init__(explanation)
        self.reason = reason
        self.explanation = explanation


@dataclass(frozen=True, slots=True)
class Abort:
    """An A-ABORT from the peer."""

    source: int
    reason: int

    def description(self, peer: str) -> str:
        """Return a sentence for the log: that `peer` has aborted, and where its reason is found."""
        who = "its user" if self.source == AbortSource.USER else "its provider"
        return (
            f"{peer} aborted the association (A-ABORT by {who}, reason {self.reason}): "
            "its log may say why."
        )


def encode_reject(rejection: Rejection) -> bytes:
    """Encode an A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
    source, reason = divmod(rejection.reason, 16)
    return _FIXED.pack(PduType.ASSOCIATE_RJ, _FIXED_LENGTH, rejection.result, source, reason)


def decode_reject(content: bytes) -> tuple[int, int, int]:
    """Return result, source and reason of an A-ASSOCIATE-RJ from the bytes after its header."""
    padded = content.ljust(_FIXED_LENGTH, b"\0")
    return padded[_RESULT], padded[_SOURCE], padded[_REASON]


def encode_release_rq() -> bytes:
    """Encode an A-RELEASE-RQ (PS3.8 9.3.6)."""
    return _FIXED.pack(PduType.RELEASE_RQ, _FIXED_LENGTH, 0, 0, 0)


def encode_release_rp() -> bytes:
    """Encode an A-RELEASE-RP (PS3.8 9.3.7)."""
    return _FIXED.pack(PduType.RELEASE_RP, _FIXED_LENGTH, 0, 0, 0)


def encode_abort(source: AbortSource, reason: AbortReason = AbortReason.NOT_SPECIFIED) -> bytes:
    """Encode an A-ABORT (PS3.8 9.3.8)."""
    significant = reason if source is AbortSource.PROVIDER else AbortReason.NOT_SPECIFIED
    return _FIXED.pack(PduType.ABORT, _FIXED_LENGTH, 0, source, significant)


def decode_abort(content: bytes) -> Abort:
    """Decode an A-ABORT from the bytes after its header; missing bytes count as 0."""
    padded = content.ljust(_FIXED_LENGTH, b"\0")
    return Abort(padded[_SOURCE], padded[_REASON])
