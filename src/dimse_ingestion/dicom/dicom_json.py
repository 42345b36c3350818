"""The DICOM JSON Model (PS3.18 annex F): conversion of elements to JSON objects and back.

Numbers are JSON numbers if these are exact, names are split into component groups, and bulk data is
referenced by a URI from the caller. Serialization and retrieval of bulk data are not done here.
"""

import math
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable, Iterable
from functools import lru_cache
from operator import attrgetter
from typing import Any

from dimse_ingestion.dicom import charsets
from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.dicom.value_representations import NUMBERS, SINGLE_VALUED, TEXT

Path = tuple[str, ...]
"""Tag digits, preceded by the tag of each sequence around it and the item's number from 1."""
BulkDataUri = Callable[[Path], str]
BulkElement = Callable[[str, str, str], Element]
"""Return the element for a tag (digits), VR and BulkDataURI."""

GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_SPECIFIC_CHARACTER_SET = "00080005"
_DECIMALS = frozenset({"DS", "FD", "FL"})
_INTEGERS = frozenset({"IS", "SL", "SS", "SV", "UL", "US", "UV"})
_LARGEST_EXACT = 2**53 - 1  # of a JSON number in most readers
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_FINITE_OR_NOT = {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}
_DEEPEST = 64
_HEXADECIMAL = frozenset("0123456789abcdefABCDEF")
_GROUP_AND_ELEMENT = attrgetter("group", "element")
_LONGEST_DS = 16  # bytes, PS3.5 table 6.2-1
_VRS = TEXT | NUMBERS.keys() | {"AT", "OB", "OD", "OF", "OL", "OV", "OW", "SQ", "UN"}

JsonObject = dict[str, Any]


def to_json(elements: Iterable[Element], address: BulkDataUri, above: Path = ()) -> JsonObject:
    """Convert a data set to a JSON object; `address` returns the BulkDataURI of a path."""
    pairs = sorted(((each.group + each.element, each) for each in elements), key=_digits)
    return {tag: _attribute(tag, each, address, above) for tag, each in pairs}


def _digits(pair: tuple[str, Element]) -> str:
    return pair[0]


def _attribute(tag: str, each: Element, address: BulkDataUri, above: Path) -> JsonObject:
    if each.value:
        return _text_attribute(tag, each)
    if each.bulk is not None:
        # SQ has no BulkDataURI (F.2.6): a sequence too long to be parsed has VR UN
        vr = "UN" if each.vr == "SQ" else each.vr
        return {"vr": vr, "BulkDataURI": address((*above, tag))}
    if each.items:
        return {"vr": "SQ", "Value": _items(each.items, address, (*above, tag))}
    if each.inline_binary:
        return {"vr": each.vr, "InlineBinary": each.inline_binary}
    return {"vr": each.vr}  # an empty value is absent (F.2.5)


def _items(items: Iterable[list[Element]], address: BulkDataUri, path: Path) -> list[JsonObject]:
    return [
        to_json(item, address, (*path, str(number))) for number, item in enumerate(items, start=1)
    ]


def _text_attribute(tag: str, each: Element) -> JsonObject:
    vr, value = each.vr, each.value
    if tag == _SPECIFIC_CHARACTER_SET:
        return {"vr": vr, "Value": [charsets.UTF_8]}
    read = _READERS.get(vr, _text)
    if "\\" not in value or vr in SINGLE_VALUED:
        one = read(value.rstrip(" \0"))
        return {"vr": vr} if one is None else {"vr": vr, "Value": [one]}
    values = [read(text.rstrip(" \0")) for text in value.split("\\")]
    # among others an empty value is null, alone it is absent (F.2.5)
    return {"vr": vr, "Value": values} if values.count(None) < len(values) else {"vr": vr}


def _text(text: str) -> str | None:
    return text or None


def _name(text: str) -> JsonObject | None:
    groups = dict(zip(GROUPS, text.split("="), strict=False))
    return {name: group for name, group in groups.items() if group} or None


def _integer(text: str) -> int | str | None:
    """Return a JSON number, or a string if it would be inexact or is not a number."""
    try:
        number = int(text)
    except ValueError:
        return text.strip() or None
    return number if abs(number) <= _LARGEST_EXACT else str(number)


def _decimal(text: str) -> float | int | str | None:
    try:
        number = float(text)
    except ValueError:
        return text.strip() or None
    if not math.isfinite(number):
        return _NOT_FINITE[str(number)]
    return int(number) if number.is_integer() and abs(number) <= _LARGEST_EXACT else number


_READERS: dict[str, Callable[[str], Any]] = {
    "PN": _name,
    **dict.fromkeys(_INTEGERS, _integer),
    **dict.fromkeys(_DECIMALS, _decimal),
}


def from_json(data_set: object, bulk: BulkElement, depth: int = 0) -> list[Element]:
    """Convert a JSON object to elements, in order of their tags.

    `bulk` returns the element of a BulkDataURI. Raises ValueError with a sentence that names the
    tag and repeats no value.
    """
    if not isinstance(data_set, dict):
        raise _mistake("A data set must be a JSON object.")
    if depth > _DEEPEST:
        raise ValueError(f"Sequences are nested deeper than {_DEEPEST}.")
    read = [_element(tag, attribute, bulk, depth) for tag, attribute in data_set.items()]
    read.sort(key=_GROUP_AND_ELEMENT)
    if len({_GROUP_AND_ELEMENT(each) for each in read}) < len(read):
        raise ValueError("A data set has a tag twice.")
    return read


def _element(key: str, attribute: object, bulk: BulkElement, depth: int) -> Element:
    group, number = _tag(key)
    tag = group + number
    if not isinstance(attribute, dict):
        raise _mistake(f"{tag} must be a JSON object with a vr.")
    vr = attribute.get("vr")
    if not isinstance(vr, str) or vr not in _VRS:
        raise ValueError(f"{tag} has no vr that PS3.5 knows.")
    if "BulkDataURI" in attribute:
        return bulk(tag, vr, str(attribute["BulkDataURI"]))
    if "InlineBinary" in attribute:
        return _binary(Element(group, number, vr), attribute["InlineBinary"])
    values = attribute.get("Value") or []
    if not isinstance(values, list):
        raise _mistake(f"Value of {tag} must be an array.")
    if vr == "SQ":
        items = [from_json({} if item is None else item, bulk, depth + 1) for item in values]
        return Element(group, number, "SQ", items=items)
    try:
        texts = [_value_text(value, vr) for value in values]
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"A value of {tag} is none of VR {vr}.") from None
    return Element(group, number, vr, "\\".join(texts))


def _mistake(sentence: str) -> ValueError:
    return ValueError(sentence)


@lru_cache(maxsize=8192)
def _tag(key: str) -> tuple[str, str]:
    """Return the group and element of a tag; raises ValueError for an invalid one."""
    if len(key) != 8 or not _HEXADECIMAL.issuperset(key):
        raise ValueError("A key of a data set must be a tag: eight hexadecimal digits.")
    return key[:4].upper(), key[4:].upper()


def _binary(empty: Element, value: object) -> Element:
    try:
        b64decode(str(value), validate=True)
    except (NotBase64, ValueError):
        raise ValueError(f"InlineBinary of {empty.group}{empty.element} is not base64.") from None
    return Element(empty.group, empty.element, empty.vr, inline_binary=str(value))


def _value_text(value: object, vr: str) -> str:
    """Return one value as text; raises TypeError, ValueError or OverflowError."""
    if value is None:
        return ""
    if vr in NUMBERS:
        return _number_text(value, vr)
    text = _name_text(value) if vr == "PN" else _string_text(value, vr)
    if not text.isascii() and not charsets.is_encodable(text, vr):
        raise ValueError
    return text


def _string_text(value: object, vr: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError
    text = _DECIMAL_TEXT[vr](value) if vr in _DECIMAL_TEXT else str(value)
    if isinstance(value, str) and vr not in SINGLE_VALUED and "\\" in text:
        raise ValueError
    return text


def _decimal_string(value: str | int | float) -> str:
    """Return a number as a DS of at most 16 characters, rounded if necessary; text unchanged."""
    text = value if isinstance(value, str) else repr(value)
    digits = _LONGEST_DS
    while not isinstance(value, str) and len(text) > _LONGEST_DS and digits:
        digits -= 1
        text = f"{value:.{digits}g}"
    return text


def _integer_string(value: str | int | float) -> str:
    """Return a number as an IS; text unchanged. Raises ValueError for a fraction."""
    if isinstance(value, float) and not value.is_integer():
        raise ValueError
    return value if isinstance(value, str) else str(int(value))


_DECIMAL_TEXT: dict[str, Callable[[str | int | float], str]] = {
    "DS": _decimal_string,
    "IS": _integer_string,
}


def _name_text(value: object) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        raise TypeError
    groups = [str(value.get(group) or "") for group in GROUPS]
    if any("\\" in group or "=" in group for group in groups):
        raise ValueError
    return "=".join(groups).rstrip("=")


def _number_text(value: object, vr: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError
    if vr in _DECIMALS:
        return repr(float(_FINITE_OR_NOT.get(value, value) if isinstance(value, str) else value))
    number = int(value)
    if isinstance(value, float) and number != value:
        raise ValueError
    return str(number)
