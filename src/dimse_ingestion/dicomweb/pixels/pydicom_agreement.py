"""Check that pydicom reads a file as `dicom.scanner` does, before it rewrites the file.

The scanner reads some malformed data sets that pydicom reads differently: pydicom would write an
instance without some elements, or with the following elements within a value. Such a file is not
transcoded and can only be retrieved as stored.
"""

from base64 import b64decode
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydicom import DataElement, Dataset
from pydicom.dataelem import RawDataElement

from dimse_ingestion.dicom import part10
from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.dicom.frames import PIXEL_DATA_TAGS
from dimse_ingestion.dicom.scanner import Scanner
from dimse_ingestion.dicom.value_representations import LONG_LENGTH, SHORT_LENGTH, vr_of

_NOT_OF_DATA_SETS = (0x0000, 0x0002, 0x0004, 0x0006)
_PADDING = 0xFFFCFFFC
_AT_ONCE = 1 << 20
_HEAD = 64 * 1024


class Disagreement(ValueError):
    """A file that pydicom reads differently from the scanner."""


def check(source: Path, data_set: Dataset) -> None:
    """Raise Disagreement unless `data_set` has the elements of the file.

    Replaces VRs that are not in the standard, and removes elements of groups that are not allowed
    in a data set.
    """
    scanner = _scan(source)
    _clean(data_set)
    if scanner.has_duplicates or not _is_equal(scanner.elements, data_set):
        raise Disagreement(
            "Some of its elements can't be written in another transfer syntax: "
            "request transfer-syntax=*."
        )


def _scan(source: Path) -> Scanner:
    """Scan the file's data set without reading its large values."""
    with source.open("rb") as file:
        head = file.read(_HEAD)
        offset = part10.data_set_offset(head)
        scanner = Scanner(part10.transfer_syntax_uid(head[:offset]))
        file.seek(offset)
        while chunk := file.read(_AT_ONCE):
            scanner.feed(chunk)
            if skipped := scanner.skippable:
                place = file.tell()
                skipped = min(skipped, source.stat().st_size - place)
                scanner.mark_skipped(skipped)
                file.seek(place + skipped)
        scanner.finish()
    return scanner


def _clean(data_set: Dataset) -> None:
    for tag in list(data_set.keys()):
        raw: Any = data_set.get_item(tag)
        if tag.group in _NOT_OF_DATA_SETS:
            del data_set[tag]
        elif isinstance(raw, RawDataElement) and raw.VR is not None and not _is_standard(raw.VR):
            data_set[tag] = raw._replace(VR=vr_of(tag))


def _is_standard(vr: str) -> bool:
    return vr in LONG_LENGTH or vr in SHORT_LENGTH


def _is_equal(elements: Iterable[Element], data_set: Dataset) -> bool:
    expected = {each.tag: each for each in elements}
    tags = {int(tag) for tag in data_set.keys() if tag.element and tag != _PADDING}  # noqa: SIM118 - a data set iterates over elements
    return tags == expected.keys() and all(
        _has_equal_value(each, data_set[tag])
        for tag, each in expected.items()
        if tag not in PIXEL_DATA_TAGS
    )


def _has_equal_value(each: Element, read: DataElement) -> bool:
    """Compare items and binary values; text and numbers need no comparison."""
    if each.items is not None:
        items = list(read.value or ()) if read.VR == "SQ" else []
        pairs = zip(each.items, items, strict=False)
        return len(items) == len(each.items) and all(_is_equal(*pair) for pair in pairs)
    if each.inline_binary is not None and isinstance(read.value, bytes):
        return len(b64decode(each.inline_binary)) == len(read.value)
    if each.bulk is not None and isinstance(read.value, bytes):
        return each.bulk.length == len(read.value)
    return each.vr != "UN" or read.VR != "SQ"
