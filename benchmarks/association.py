"""A DICOM requestor on a blocking socket: C-STORE and C-FIND, at the cost of a system call or two.

Senders share the machine with what they measure, so this one encodes nothing while the clock runs:
PDUs are prepared, and only identifiers are written into them. DCMTK's `storescu` reads and encodes
a file for each object and starts a process for each association, which takes processor time from
what is measured, and it does not report the time of each answer.
"""

import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.ct_image import (
    CT_IMAGE_STORAGE,
    EXPLICIT_VR_LITTLE_ENDIAN,
    CtImage,
    explicit_element,
    padded,
    patch,
)

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
LONGEST_PDU = 128 * 1024
_ACCEPT, _P_DATA, _RELEASE_RP = 2, 4, 6
_LONGEST_ANSWER = struct.pack("ll", 300, 0)
_RELEASE_RQ = bytes.fromhex("05000000000400000000")
_STATUS = struct.pack("<HHI", 0, 0x0900, 2)
_COMMAND, _LAST = 1, 2
_PENDING = (0xFF00, 0xFF01)
_STORE_RQ, _FIND_RQ = 0x0001, 0x0020


@dataclass(frozen=True)
class Matches:
    """The answer of a C-FIND: number of matches, seconds to the first and to the last response."""

    count: int
    first: float
    last: float


class Association:
    """One association for one SOP class; raises RuntimeError when a request fails."""

    def __init__(self, port: int, sop_class: str) -> None:
        self._values: list[tuple[int, bytes]] = []
        self._peer = socket.create_connection(("127.0.0.1", port))
        self._peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _LONGEST_ANSWER)
        self._peer.sendall(_associate_rq(sop_class))
        self.longest_pdu = min(LONGEST_PDU, _maximum_length(self._receive_pdu(_ACCEPT)))

    def store(self, message: "StoreMessage") -> float:
        """Send a C-STORE; return the seconds until its response."""
        started = time.perf_counter()
        for part in message.parts:
            self._peer.sendall(part)
        status, _ = self._receive_response()
        if status != 0:
            raise RuntimeError(f"C-STORE was answered {status:04X}H.")
        return time.perf_counter() - started

    def find(self, keys: list[tuple[int, int, str, str]]) -> Matches:
        """Send a C-FIND at STUDY level and receive all its responses."""
        request = _find_rq(keys)
        started = time.perf_counter()
        self._peer.sendall(request)
        count, first = 0, 0.0
        while (response := self._receive_response())[0] in _PENDING:
            if response[1]:
                self._receive_data_set()
            count += 1
            first = first or time.perf_counter() - started
        last = time.perf_counter() - started
        if response[0] != 0:
            raise RuntimeError(f"C-FIND was answered {response[0]:04X}H.")
        return Matches(count, first or last, last)

    def release(self) -> None:
        """Release the association and close the connection."""
        self._peer.sendall(_RELEASE_RQ)
        self._receive_pdu(_RELEASE_RP)
        self._peer.close()

    def _receive_response(self) -> tuple[int, bool]:
        """Return the status of the next command set, and whether a data set follows."""
        command = b"".join(self._receive_values(_COMMAND))
        status = struct.unpack_from("<H", command, command.index(_STATUS) + 8)[0]
        type_at = command.index(struct.pack("<HHI", 0, 0x0800, 2)) + 8
        return status, struct.unpack_from("<H", command, type_at)[0] != 0x0101

    def _receive_data_set(self) -> bytes:
        return b"".join(self._receive_values(0))

    def _receive_values(self, kind: int) -> Iterator[bytes]:
        """Yield the PDVs of a command set or data set up to its last one.

        A receiver may send several PDVs in one PDU: those of the next message stay for later.
        """
        while True:
            if not self._values:
                self._values = list(_values(self._receive_pdu(_P_DATA)))
            control, value = self._values.pop(0)
            if control & _COMMAND != kind:
                raise RuntimeError("A data set came where a command set was due, or the reverse.")
            yield value
            if control & _LAST:
                return

    def _receive_pdu(self, expected: int) -> bytes:
        pdu_type, length = struct.unpack(">BxI", self._receive(6))
        if pdu_type != expected:
            raise RuntimeError(f"A PDU of type {pdu_type} came where {expected} was due.")
        return self._receive(length)

    def _receive(self, length: int) -> bytes:
        received = self._peer.recv(length, socket.MSG_WAITALL)
        if len(received) < length:
            raise RuntimeError("The receiver closed the connection.")
        return received


class StoreMessage:
    """A C-STORE-RQ with its data set as PDUs, for one image after another."""

    def __init__(self, image: CtImage, longest_pdu: int = LONGEST_PDU) -> None:
        chunks = list(image.chunks(longest_pdu - 6))
        last = len(chunks) - 1
        encoded: dict[tuple[int, bool], bytes] = {}
        self._head = bytearray(_store_rq(image.identity.values(0)["instance"]))
        self._head += _p_data(chunks[0], _LAST * (last == 0))
        self._offsets = image.offsets(self._head)
        self._identity = image.identity
        self.parts: list[bytes | bytearray] = [self._head]
        for number, chunk in enumerate(chunks[1:], start=1):
            key = id(chunk), number == last
            encoded.setdefault(key, _p_data(chunk, _LAST * (number == last)))
            self.parts.append(encoded[key])

    def identify(self, number: int) -> None:
        """Make it the image with this number."""
        patch(self._head, self._offsets, self._identity.values(number))


def _store_rq(instance_uid: str) -> bytes:
    return _command_set(_STORE_RQ, CT_IMAGE_STORAGE, _element(0x1000, padded(instance_uid, "UI")))


def _find_rq(keys: list[tuple[int, int, str, str]]) -> bytes:
    level = (0x0008, 0x0052, "CS", "STUDY")
    identifier = b"".join(
        explicit_element(group, number, vr, padded(value, vr))
        for group, number, vr, value in sorted([level, *keys])
    )
    return _command_set(_FIND_RQ, STUDY_ROOT_FIND) + _p_data(identifier, _LAST)


def _command_set(field: int, sop_class: str, more: bytes = b"") -> bytes:
    elements = (
        _element(0x0002, padded(sop_class, "UI"))
        + _element(0x0100, struct.pack("<H", field))
        + _element(0x0110, struct.pack("<H", 1))
        + _element(0x0700, struct.pack("<H", 0))
        + _element(0x0800, struct.pack("<H", 1))
        + more
    )
    return _p_data(_element(0x0000, struct.pack("<I", len(elements))) + elements, _COMMAND | _LAST)


def _element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, number, len(value)) + value


def _p_data(value: bytes, control: int) -> bytes:
    return struct.pack(">BxIIBB", 4, len(value) + 6, len(value) + 2, 1, control) + value


def _values(p_data: bytes) -> Iterator[tuple[int, bytes]]:
    start = 0
    while start < len(p_data):
        length, control = struct.unpack_from(">IxB", p_data, start)
        yield control, p_data[start + 6 : start + 4 + length]
        start += 4 + length


def _item(item_type: int, content: bytes) -> bytes:
    return struct.pack(">BxH", item_type, len(content)) + content


def _associate_rq(sop_class: str) -> bytes:
    syntax = _item(0x40, EXPLICIT_VR_LITTLE_ENDIAN.encode())
    context = b"\x01\0\0\0" + _item(0x30, sop_class.encode()) + syntax
    user = _item(0x51, struct.pack(">I", LONGEST_PDU)) + _item(0x52, b"1.2.826.0.1.3680043.8.498.2")
    items = _item(0x10, b"1.2.840.10008.3.1.1.1") + _item(0x20, context) + _item(0x50, user)
    titles = b"DICOM-INGEST".ljust(16), b"BENCH".ljust(16)
    content = struct.pack(">H2x16s16s32x", 1, *titles) + items
    return struct.pack(">BxI", 1, len(content)) + content


def _maximum_length(accept: bytes) -> int:
    """Return the longest PDU that the acceptor takes; 0 there means no limit."""
    at = accept.rindex(b"\x51\0\0\4") + 4
    return int(struct.unpack_from(">I", accept, at)[0]) or LONGEST_PDU
