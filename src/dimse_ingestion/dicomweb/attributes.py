"""Attributes by the names a URL gives them (PS3.18 section 8.3.1.1): tag, keyword, or a path.

`00100010`, `PatientName` and `RequestAttributesSequence.00400009` become tags; which of them can
be searched is `searching`'s matter.
"""

from functools import lru_cache

from pydicom.datadict import tag_for_keyword

from dimse_ingestion.dicom.value_representations import vr_of
from dimse_ingestion.dicomweb.problems import Problem

_BAD_REQUEST = 400
_HEXADECIMAL = frozenset("0123456789abcdefABCDEF")
_LONGEST_TOLD = 64


def path_of(written: str) -> tuple[int, ...]:
    """The tags of an attribute ID, all but the last of sequences; raises Problem 400."""
    path = tuple(_tag(part, written) for part in written.split("."))
    for tag in path[:-1]:
        if vr_of(tag) != "SQ":
            raise _unknown(written, "is no path through sequences")
    return path


def _tag(part: str, written: str) -> int:
    tag = _named(part)
    if tag is None:
        raise _unknown(written, "is no attribute: give a keyword of PS3.6 or a tag like 00100010")
    return tag


@lru_cache(maxsize=4096)
def _named(part: str) -> int | None:
    if len(part) == 8 and _HEXADECIMAL.issuperset(part):
        return int(part, 16)
    return tag_for_keyword(part) if part else None


def _unknown(written: str, why: str) -> Problem:
    # an attribute's name is told, a value never
    told = written[:_LONGEST_TOLD] if written.replace(".", "").isalnum() else "What was asked"
    return Problem(_BAD_REQUEST, f"{told} {why}.")
