"""The head of a stored object: preamble and file meta information (PS3.10 section 7.1).

It is deterministic: an instance gets the same bytes in every release and on every replica, so that
writing an object twice gives the same object. It has no AE title and no date.
"""

import struct

from dimse_ingestion.dicom.elements import by_tag
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.scanner import scan
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.dicom.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
)
from dimse_ingestion.dicom.value_representations import LONG_LENGTH

IMPLEMENTATION_CLASS_UID = "2.25.190146791043182537444806132342625375407"
"""Of the writer of these heads; a release doesn't change it (PS3.7 D.3.3.2)."""
IMPLEMENTATION_VERSION_NAME = "DIMSE_INGESTION"

_PREAMBLE = bytes(128) + b"DICM"
_PREAMBLE_LENGTH = len(_PREAMBLE)
_GROUP_LENGTH_END = 144
_GROUP_2 = b"\x02\x00"
_MOST_ELEMENTS = 256  # of file meta information; PS3.10 has 17
_SHORT_HEADER, _LONG_HEADER = 8, 12
_DEFLATED = DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN.encode()
_TRANSFER_SYNTAX_UID = 0x00020010
LONGEST = 2048
"""Maximum bytes of a head written by this module."""


def header(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Encode preamble, prefix and group 2 in explicit VR little endian."""
    elements = b"".join(
        (
            struct.pack("<HH2s2xI", 0x0002, 0x0001, b"OB", 2) + b"\x00\x01",
            _short(0x0002, b"UI", sop_class_uid),
            _short(0x0003, b"UI", sop_instance_uid),
            _short(0x0010, b"UI", transfer_syntax_uid),
            _short(0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
            _short(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
        )
    )
    length = struct.pack("<HH2sHI", 0x0002, 0x0000, b"UL", 4, len(elements))
    return _PREAMBLE + length + elements


def _short(element: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii")
    value += (b"\x00" if vr == b"UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", 0x0002, element, vr, len(value)) + value


def data_set_offset(head: bytes) -> int:
    """Return the data set's offset in bytes, from the first 144 bytes of an object.

    Raises DimseFailure C000 if this is not a Part-10 file with a group length.
    """
    begins_well = head[128:132] == b"DICM" and head[132:138] == b"\x02\x00\x00\x00UL"
    if len(head) < _GROUP_LENGTH_END or not begins_well:
        raise DimseFailure(Status.CANNOT_UNDERSTAND, "The object is not a DICOM file.")
    return _GROUP_LENGTH_END + int.from_bytes(head[140:144], "little")


def file_meta_end(head: bytes) -> int | None:
    """Return the data set's offset in a received file; None if `head` is too short to decide.

    The end of group 2 is searched, because (0002,0000) File Meta Information Group Length is wrong
    in files of some writers, and would move elements between file meta information and data set.
    It is used only before a deflated data set, whose first bytes can look like a tag. Raises
    DimseFailure C000 if this is not a Part-10 file with a group length.
    """
    announced = data_set_offset(head)
    place, deflated = _GROUP_LENGTH_END, False
    for _ in range(_MOST_ELEMENTS):
        if len(head) < place + _LONG_HEADER:
            return None
        if head[place : place + 2] != _GROUP_2 or (deflated and place == announced):
            return place
        vr = head[place + 4 : place + 6]
        is_long = vr.decode("latin-1") in LONG_LENGTH
        begin = place + (_LONG_HEADER if is_long else _SHORT_HEADER)
        length = head[place + 8 : begin] if is_long else head[place + 6 : begin]
        end = begin + int.from_bytes(length, "little")
        deflated = deflated or head[begin:end].rstrip(b"\0 ") == _DEFLATED
        place = end
    raise DimseFailure(Status.CANNOT_UNDERSTAND, "The file meta information does not end.")


def transfer_syntax_uid(head: bytes) -> str:
    """Return the transfer syntax in a complete head; raises DimseFailure C000 without one."""
    elements = by_tag(scan(head[_PREAMBLE_LENGTH:], EXPLICIT_VR_LITTLE_ENDIAN, is_file_meta=True))
    if _TRANSFER_SYNTAX_UID not in elements:
        raise DimseFailure(Status.CANNOT_UNDERSTAND, "The object names no transfer syntax.")
    return elements[_TRANSFER_SYNTAX_UID].value
