"""Attribute IDs in URLs (PS3.18 section 8.3.1.1): a tag, a keyword, or a path of them.

`00100010`, `PatientName` and `RequestAttributesSequence.00400009` become tags; `query_parameters`
decides which of them can be searched.
"""

import string
from functools import lru_cache
from http import HTTPStatus

from pydicom.datadict import tag_for_keyword

from dimse_ingestion.dicom.value_representations import vr_of
from dimse_ingestion.dicomweb.http.problems import Problem

_HEXADECIMAL = frozenset("0123456789abcdefABCDEF")
_MAX_PRINTED = 64
_MAX_ATTRIBUTE_ID = 1024
_NAME_CHARACTERS = frozenset(string.ascii_letters + string.digits + "._-")


def attribute_path(text: str) -> tuple[int, ...] | None:
    """Return the tags of an attribute ID, or None where it names no attribute.

    All tags but the last are sequences' tags; raises Problem 400 where they are not.
    """
    if len(text) > _MAX_ATTRIBUTE_ID:
        return None
    path = [tag for part in text.split(".") if (tag := _tag(part)) is not None]
    if len(path) <= text.count("."):
        return None
    if any(vr_of(tag) != "SQ" for tag in path[:-1]):
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            f"{printable(text)} must have sequences only before its last dot.",
        )
    return tuple(path)


def printable(name: str) -> str:
    """Return a parameter's name for a response, a placeholder if it has other characters."""
    if len(name) <= _MAX_PRINTED and _NAME_CHARACTERS.issuperset(name) and name:
        return name
    return "(a name of other characters)"


@lru_cache(maxsize=4096)
def _tag(part: str) -> int | None:
    if len(part) == 8 and _HEXADECIMAL.issuperset(part):
        return int(part, 16)
    return tag_for_keyword(part) if part else None
