"""Validation of elements in JSON: a bound before decoding, then checks of each element.

It is for events and queries, which come from outside: an invalid element would break each later
answer that contains it. `elements` defines the elements; the JSON of DICOMweb has another form and
is in `dicom_json`.
"""

import binascii
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TypeVar

import msgspec

from dimse_ingestion.dicom.elements import BulkReference, Element

DEEPEST = 64
"""Maximum nesting of sequences, the same as for reading a data set."""
_Decoded = TypeVar("_Decoded")
_HALF = re.compile(r"[0-9A-F]{4}")  # of a tag
_VR = re.compile(r"[A-Z]{2}")
_COMMAS = 4  # of an element: between its group, number, VR and value, and the next one
_LARGEST = 2**63 - 1
_LONGEST_FRAGMENT = 2**32 - 1


def decode(decoder: msgspec.json.Decoder[_Decoded], body: bytes, most: int) -> _Decoded:
    """Decode a body that has at most `most` objects and as many arrays.

    They are counted first, because ten bytes of JSON can take hundreds of bytes of memory. Raises
    ValueError with a sentence that repeats no value of the body.
    """
    if len(body) > most:
        _check_structures(body, most)
    with decoding_errors():
        return decoder.decode(body)


@contextmanager
def decoding_errors() -> Iterator[None]:
    """Raise errors of decoding as ValueError with a sentence that repeats no value of the JSON."""
    try:
        yield
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ValueError("malformed JSON") from None


def _check_structures(body: bytes, most: int) -> None:
    """Refuse a body of too many structures or numbers; numbers are counted by commas."""
    counts = body.count(b"{"), body.count(b"["), body.count(b",") // _COMMAS
    if max(counts) > most:
        raise ValueError(f"more than {most} elements and items")


def check(elements: Iterable[Element], depth: int = 0) -> None:
    """Raise ValueError for an invalid element, with a sentence that repeats no value."""
    if depth > DEEPEST:
        raise ValueError(f"sequences are nested deeper than {DEEPEST}")
    for each in elements:
        if not _is_named(each.group, each.element, each.vr):
            raise ValueError("an element's tag or VR is invalid")
        if each.items is not None or each.inline_binary is not None or each.bulk is not None:
            _check_other_value(each, depth)


def _check_other_value(of: Element, depth: int) -> None:
    """Check an element's inline binary value, bulk reference or items."""
    if of.inline_binary is not None:
        _check_base64(of.inline_binary)
    if of.bulk is not None:
        _check_reference(of.bulk)
    for item in of.items or ():
        check(item, depth + 1)


@lru_cache(maxsize=8192)
def _is_named(group: str, number: str, vr: str) -> bool:
    return bool(_HALF.fullmatch(group) and _HALF.fullmatch(number) and _VR.fullmatch(vr))


def _check_base64(text: str) -> None:
    try:
        binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise ValueError("an element's inline binary value is not base64") from None


def _check_reference(bulk: BulkReference) -> None:
    fragments = bulk.fragments or (0,)
    possible = (
        0 <= bulk.offset <= _LARGEST
        and 0 <= bulk.length <= _LARGEST
        and min(fragments) >= 0
        and max(fragments) <= _LONGEST_FRAGMENT
    )
    if not possible:
        raise ValueError("an element's bulk reference is invalid")
