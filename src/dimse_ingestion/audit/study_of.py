"""The study and patient of a data set, from its first elements: audit messages name them.

Only what comes before the series is read, and no more than 256 KiB. Most data sets name their study
within the first 4 KiB and in little endian: these elements are walked without a parser, because it
is done for each C-STORE. Anything unusual is left to the scanner.
"""

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dimse_ingestion.audit.messages import Patient
from dimse_ingestion.dicom import charsets, uids
from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.limits import ParserLimits
from dimse_ingestion.dicom.scanner import Scanner

MOST_READ = 256 * 1024
"""Bytes of a data set that are read to find its study."""
_PIECE = 2048
_LIMITS = ParserLimits(
    text=4096, binary=0, sequence=0, retained=256 * 1024, parts=5000, inflated=2**20
)
_PATIENT_NAME, _PATIENT_ID, _STUDY_INSTANCE_UID = "00100010", "00100020", "0020000D"
_LAST_GROUP = "0020"
_WALKED = 4096  # bytes
_NOT_WALKED = (*uids.DEFLATED, uids.EXPLICIT_VR_BIG_ENDIAN)
_EXPLICIT, _LENGTH = struct.Struct("<HH2sH"), struct.Struct("<I")  # PS3.5 7.1.2 and 7.1.3
_LONG = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)
_FIRST_TAG, _CHARACTER_SET, _STUDY_TAG = 0x0007FFFF, 0x00080005, 0x0020000D
_WALKED_TAGS = frozenset((_CHARACTER_SET, 0x00100010, 0x00100020, _STUDY_TAG))


@dataclass(frozen=True, slots=True)
class StudyOf:
    """The study that an instance belongs to, with its patient."""

    study_instance_uid: str
    patient: Patient


def study_of_elements(elements: Iterable[Element]) -> StudyOf | None:
    """Return the study that elements name, or None without a valid Study Instance UID."""
    values = first_values(elements, _STUDY_INSTANCE_UID, _PATIENT_NAME, _PATIENT_ID)
    return _study_of_values(*values)


def _study_of_values(study: str, name: str, number: str) -> StudyOf | None:
    study = uids.strip_padding(study)
    if not uids.is_valid(study):
        return None
    name, number = name.strip(" \0"), number.strip(" \0")
    return StudyOf(study, Patient(number, name))


def study_of_data_set(
    read: Callable[[int, int], bytes], transfer_syntax_uid: str
) -> StudyOf | None:
    """Return the study of a data set, or None if its beginning does not name one.

    `read` returns at most so many bytes (second) from an offset (first).
    """
    try:
        if transfer_syntax_uid not in _NOT_WALKED:
            is_explicit = transfer_syntax_uid != uids.IMPLICIT_VR_LITTLE_ENDIAN
            if values := _walked(read(0, _WALKED), is_explicit=is_explicit):
                return _study_of_values(*values)
        scanner = Scanner(transfer_syntax_uid, _LIMITS)
        offset = 0
        while offset < MOST_READ and not _is_past_study(scanner.elements):
            if skipped := scanner.skippable:
                scanner.mark_skipped(skipped)
                offset += skipped
                continue
            if not (piece := read(offset, _PIECE)):
                break
            scanner.feed(piece)
            offset += len(piece)
    except (DimseFailure, OSError, ValueError):
        return None
    return study_of_elements(scanner.elements)


def _walked(content: bytes, *, is_explicit: bool) -> tuple[str, str, str] | None:
    """Return study, patient name and ID of little endian elements; None for the scanner to read."""
    found: dict[int, bytes] = {}
    position, last, end = 0, _FIRST_TAG, len(content)
    while position + 12 <= end:
        group, element, vr, length = _EXPLICIT.unpack_from(content, position)
        tag, position = group << 16 | element, position + 8
        if tag <= last:
            return None
        if tag > _STUDY_TAG:
            break
        if not is_explicit:
            (length,) = _LENGTH.unpack_from(content, position - 4)
        elif vr in _LONG:
            (length,) = _LENGTH.unpack_from(content, position)
            position += 4
        elif not vr.isalpha():
            return None
        if position + length > end:  # also an undefined length
            return None
        if tag in _WALKED_TAGS:
            found[tag] = content[position : position + length]
        position, last = position + length, tag
    if _STUDY_TAG not in found:
        return None
    codecs = charsets.codecs(found.get(_CHARACTER_SET, b"").decode("latin-1"))
    name, number = (
        charsets.decode(found.get(tag, b""), vr, codecs)
        for tag, vr in ((0x00100010, "PN"), (0x00100020, "LO"))
    )
    return found[_STUDY_TAG].decode("latin-1"), name, number


def first_values(elements: Iterable[Element], *tags: str) -> list[str]:
    """Return the values of tags up to group 0020; empty where there is none.

    A tag is eight hexadecimal digits. The elements are in the order of their tags.
    """
    found: dict[str, str] = {}
    for each in elements:
        if each.group > _LAST_GROUP:
            break
        if (tag := each.group + each.element) in tags:
            found.setdefault(tag, each.value)
    return [found.get(tag, "") for tag in tags]


def _is_past_study(elements: list[Element]) -> bool:
    return bool(elements) and elements[-1].tag >= int(_STUDY_INSTANCE_UID, 16)
