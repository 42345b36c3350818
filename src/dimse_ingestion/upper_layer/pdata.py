"""The PDU reader and the P-DATA-TF encoder, the hot path of the upper layer (PS3.8 9.3.5).

A presentation data value is passed on as it arrives, before its PDU is complete and without a copy.
Only a header, or a PDU other than P-DATA-TF, is buffered when it arrives in pieces. `assembly`
handles the content of the values.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from dimse_ingestion.upper_layer.pdus import HEADER, AbortReason, PduType, ProtocolError

_PDV = struct.Struct(">IBB")
"""Item length, presentation context id, message control header (PS3.8 9.3.5.1, annex E.2)."""
_P_DATA_START = struct.Struct(">BxIIBB")  # both headers
_COUNTED = 2  # bytes of that header that the item length includes
_COMMAND, _LAST = 0x01, 0x02
_LONGEST_OTHER = 512 * 1024  # bytes; 128 contexts of 40 transfer syntaxes take 360 KB
_LONGEST_SENT = 128 * 1024  # bytes of a P-DATA-TF for a peer that sets no limit

_LEAST_APART = 64 * 1024  # bytes of a data set: a copy of a shorter one costs less than pieces
_LEAST_FRAGMENT_APART = 4 * 1024

_TLS_HANDSHAKE = 0x16  # first byte of a ClientHello

_INVALID = AbortReason.INVALID_PDU_PARAMETER_VALUE


Encoded = bytes | list[bytes | memoryview]
"""Bytes to send; a long data set is in pieces, so that it is not copied."""


@dataclass(slots=True)
class Fragment:
    """A part of one presentation data value; `last` marks the end of a command or data set."""

    context_id: int
    is_command: bool
    last: bool
    content: memoryview


@dataclass(slots=True)
class Pdu:
    """A complete PDU; a P-DATA-TF is reported at its start, its content follows as fragments."""

    type: PduType
    content: bytes


P_DATA = Pdu(PduType.P_DATA_TF, b"")
"""The start of a P-DATA-TF; it is always this object."""


class PduReader:
    """Parse the bytes of one peer into PDUs and fragments."""

    def __init__(self, maximum_pdu_length: int) -> None:
        self._maximum_pdu_length = maximum_pdu_length
        self._partial = bytearray()
        self._pdu_left = 0
        self._pdv_left = 0
        self._pdv = (0, 0)
        self.consumed = 0
        """Bytes that `feed` has consumed of its last input."""

    def feed(self, received: memoryview) -> Iterator[Pdu | Fragment]:
        """Yield the PDUs and fragments in these bytes; a fragment is valid until the next one.

        Raises ProtocolError for bytes that are no PDU, or a PDU that is too long; nothing can be
        read after that.
        """
        self.consumed, end = 0, len(received)
        while (position := self.consumed) < end:
            if self._pdv_left:
                self.consumed = min(position + self._pdv_left, end)
                yield self._fragment(received[position : self.consumed])
            elif self._pdu_left:
                if (empty := self._next_pdv(received, position)) is not None:
                    yield empty
            else:
                item, self.consumed = self._next_pdu(received, position)
                if item is not None:
                    yield item

    @property
    def is_within_pdu(self) -> bool:
        """Return whether a PDU has started and is incomplete."""
        return bool(self._partial or self._pdu_left)

    def _fragment(self, content: memoryview) -> Fragment:
        length = len(content)
        self._pdv_left -= length
        self._pdu_left -= length
        context_id, control = self._pdv
        last = not self._pdv_left and control & _LAST != 0
        return Fragment(context_id, control & _COMMAND != 0, last, content)

    def _next_pdv(self, received: memoryview, position: int) -> Fragment | None:
        """Read the header of a value; return a fragment if the value is empty."""
        if not self._partial and len(received) - position >= _PDV.size:
            self.consumed = position + _PDV.size
            return self._begin_pdv(*_PDV.unpack_from(received, position))
        header, self.consumed = self._gather(received, position, _PDV.size)
        return self._begin_pdv(*_PDV.unpack(header)) if header else None

    def _begin_pdv(self, length: int, context_id: int, control: int) -> Fragment | None:
        self._pdv = (context_id, control)
        rest = self._pdu_left - _PDV.size + _COUNTED - length
        if length < _COUNTED or rest < 0 or 0 < rest < _PDV.size:
            raise ProtocolError(_INVALID, f"A presentation data value has length {length}.")
        self._pdu_left -= _PDV.size
        self._pdv_left = length - _COUNTED
        return None if self._pdv_left else self._fragment(memoryview(b""))

    def _gather(
        self, received: memoryview, position: int, needed: int
    ) -> tuple[bytes | memoryview, int]:
        """Return `needed` bytes, or none after buffering a part of them; and the position."""
        if not self._partial and len(received) - position >= needed:
            return received[position : position + needed], position + needed
        missing = needed - len(self._partial)
        self._partial += received[position : position + missing]
        position = min(position + missing, len(received))
        if len(self._partial) < needed:
            return b"", position
        whole = bytes(self._partial)
        self._partial.clear()
        return whole, position

    def _next_pdu(self, received: memoryview, position: int) -> tuple[Pdu | None, int]:
        partial = self._partial
        if not partial and len(received) - position >= HEADER.size:
            number, length = HEADER.unpack_from(received, position)
            if number == PduType.P_DATA_TF:
                self._check_length(PduType.P_DATA_TF, length)
                self._pdu_left = length
                return P_DATA, position + HEADER.size
        if len(partial) < HEADER.size:
            header, position = self._gather(received, position, HEADER.size)
            if not header:
                self._check_type(partial[0])
                return None, position
            pdu_type, length = self._check_header(header)
            if pdu_type is PduType.P_DATA_TF:
                self._pdu_left = length
                return P_DATA, position
            partial += header
        else:
            pdu_type, length = self._check_header(partial[: HEADER.size])
        whole, position = self._gather(received, position, HEADER.size + length)
        return (Pdu(pdu_type, bytes(whole[HEADER.size :])) if whole else None), position

    def _check_header(self, header: bytes | bytearray | memoryview) -> tuple[PduType, int]:
        number, length = HEADER.unpack(header)
        pdu_type = self._check_type(number)
        self._check_length(pdu_type, length)
        return pdu_type, length

    def _check_length(self, pdu_type: PduType, length: int) -> None:
        longest = self._maximum_pdu_length if pdu_type is PduType.P_DATA_TF else _LONGEST_OTHER
        if length > longest:
            reason = f"A PDU of type {pdu_type} has length {length}, more than {longest}."
            raise ProtocolError(_INVALID, reason)
        if pdu_type is PduType.P_DATA_TF and length < _PDV.size:
            reason = f"A P-DATA-TF has length {length}: no presentation data value fits in it."
            raise ProtocolError(_INVALID, reason)

    def _check_type(self, number: int) -> PduType:
        if not PduType.ASSOCIATE_RQ <= number <= PduType.ABORT:
            hint = " It looks like TLS." if number == _TLS_HANDSHAKE else ""
            explanation = (
                f"The peer sent a PDU of type {number:02X}H, which is none of DICOM's.{hint}"
            )
            raise ProtocolError(AbortReason.UNRECOGNIZED_PDU, explanation)
        return PduType(number)


def encode(
    context_id: int, command: bytes, data_set: bytes | None, maximum_pdu_length: int
) -> Encoded:
    """Encode a command set and its data set as P-DATA-TF PDUs within the peer's maximum length.

    `maximum_pdu_length` is the peer's, 0 for unlimited (PS3.8 D.1). A PDU has one value, because
    some peers don't understand a command and a data set in one. Fragments have an even length.
    """
    longest = _longest_fragment(maximum_pdu_length)
    if data_set is None and len(command) <= longest:
        return _header(len(command), context_id, _COMMAND | _LAST) + command
    pieces = _pdus(context_id, _COMMAND, command, longest)
    if data_set is None:
        return b"".join(pieces)
    pieces += _pdus(context_id, 0, data_set, longest)
    is_long = len(data_set) >= _LEAST_APART and longest >= _LEAST_FRAGMENT_APART
    return pieces if is_long else b"".join(pieces)


class DataSetEncoder:
    """Encode a data set that comes in chunks as P-DATA-TF PDUs within the peer's maximum length.

    The last PDU is held back until `finish`: without it, the peer never has the whole data set.
    """

    def __init__(self, context_id: int, maximum_pdu_length: int) -> None:
        self._context_id = context_id
        self._longest = _longest_fragment(maximum_pdu_length)
        self._held = b""

    def feed(self, chunk: bytes | memoryview) -> bytes:
        """Return the PDUs that are complete and not the last one."""
        view, pieces, start = memoryview(chunk), list[bytes | memoryview](), 0
        if self._held and len(self._held) + len(view) > self._longest:
            start = self._longest - len(self._held)
            pieces += self._pdu(self._held + view[:start])
            self._held = b""
        while len(view) - start > self._longest:
            pieces += self._pdu(view[start : start + self._longest])
            start += self._longest
        self._held += view[start:]
        return b"".join(pieces)

    def finish(self) -> bytes:
        """Return the last PDU."""
        return b"".join(self._pdu(self._held, _LAST))

    def _pdu(self, part: bytes | memoryview, control: int = 0) -> Iterator[bytes | memoryview]:
        yield _header(len(part), self._context_id, control)
        yield part


def _longest_fragment(maximum_pdu_length: int) -> int:
    return min(maximum_pdu_length or _LONGEST_SENT, _LONGEST_SENT) - _PDV.size & ~1


def _pdus(context_id: int, control: int, content: bytes, longest: int) -> list[bytes | memoryview]:
    """Return headers and parts of a message in turn; all but the last header are the same."""
    view = memoryview(content)
    last_start = max(0, len(content) - 1) // longest * longest
    header = _header(longest, context_id, control)
    pieces: list[bytes | memoryview] = []
    for start in range(0, last_start, longest):
        pieces += (header, view[start : start + longest])
    last = view[last_start:]
    return [*pieces, _header(len(last), context_id, control | _LAST), last]


def _header(length: int, context_id: int, control: int) -> bytes:
    """Return the header of a PDU with one value of so many bytes."""
    return _P_DATA_START.pack(
        PduType.P_DATA_TF, length + _PDV.size, length + _COUNTED, context_id, control
    )
