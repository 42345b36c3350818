"""Normalized forms of values for comparison in queries (PS3.4 C.2.2.2): names, numbers, times.

Text goes in and comparable text comes out, so that a database and Python compare in the same way.
Matching itself is in `matching`.
"""

import re
import unicodedata
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

_NUMERIC = frozenset({"DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"})
_LARGEST_EXPONENT = 400  # beyond that of FD: written out, others would fill memory
_TEMPORAL = frozenset({"DA", "DT", "TM"})
_LOWEST = {"DA": "00000101", "TM": "000000000000", "DT": "00000101000000000000"}
_HIGHEST = {"DA": "99991231", "TM": "235959999999", "DT": "99991231235959999999"}
_SHAPE = {
    "DA": re.compile(r"\d{4}(\d{2}(\d{2})?)?"),
    "TM": re.compile(r"\d{2}(\d{2}(\d{2}\d{0,6})?)?"),
    "DT": re.compile(r"\d{4}(\d{2}(\d{2}(\d{2}(\d{2}(\d{2}\d{0,6})?)?)?)?)?"),
}
_WIDE_EQUALS_SIGN = "\uff1d"  # stands within Japanese names, where it separates no groups
_LAST_BLANK = 0x3000
_INSIGNIFICANT = "^" + "".join(each for each in map(chr, range(_LAST_BLANK + 1)) if each.isspace())
_LONGEST_NORMALIZED = 1024  # characters: Unicode's order of combining marks takes n² steps
_OFFSET = re.compile(r"(?P<local>.*?)(?P<offset>[+-]\d{4})?")


def folded_name(name: str) -> str:
    """Return a person name or component group without case, width and insignificant parts."""
    return "=".join(map(_folded_group, name.split("="))).rstrip("=")


def _folded_group(group: str) -> str:
    folded = _compatible(_compatible(group).casefold()).replace("=", _WIDE_EQUALS_SIGN)
    return folded.rstrip(_INSIGNIFICANT).lstrip()


def _compatible(text: str) -> str:
    """Return the text in NFKC; a text too long for a name is returned unchanged."""
    return unicodedata.normalize("NFKC", text) if len(text) <= _LONGEST_NORMALIZED else text


def name_groups(name: str) -> list[str]:
    """Return the folded component groups: alphabetic, ideographic, phonetic (PS3.5 6.2.1)."""
    return folded_name(name).split("=")


def comparable(value: str, vr: str) -> str:
    """Return the form of a value that is compared for equality, without outer blanks."""
    text = value.strip(" \x00")
    if vr == "PN":
        return folded_name(text)
    if vr in _NUMERIC:
        return _number(text)
    if vr in _TEMPORAL:
        return lowest(text, vr) if is_temporal(text, vr) else text
    return text


def _number(text: str) -> str:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text
    if not number.is_finite() or abs(number.adjusted()) > _LARGEST_EXPONENT:
        return text
    return f"{number.normalize():f}"


def is_temporal(text: str, vr: str) -> bool:
    """Return whether this is a date, time or date time, in full or with less precision."""
    return _SHAPE[vr].fullmatch(_digits(text, vr)) is not None


def lowest(text: str, vr: str) -> str:
    """Return the first moment of a date (8 digits), time (12) or date time (20)."""
    digits = _digits(text, vr)
    return digits + _LOWEST[vr][len(digits) :]


def highest(text: str, vr: str) -> str:
    """Return the last moment; every month has 31 days here, which does not change comparisons."""
    digits = _digits(text, vr)
    return digits + _HIGHEST[vr][len(digits) :]


def _digits(text: str, vr: str) -> str:
    """Return the digits without ACR-NEMA's separators; a date time with an offset in UTC."""
    plain = text.strip(" \x00")
    if vr == "DT":
        return _in_utc(plain)
    return plain.replace("." if vr == "DA" else ":", "").replace(".", "")


def _in_utc(text: str) -> str:
    found = _OFFSET.fullmatch(text)
    local = (found["local"] if found else text).replace(".", "")
    if not found or not found["offset"] or not _SHAPE["DT"].fullmatch(local):
        return local
    whole = local + _LOWEST["DT"][len(local) :]
    try:
        moment = datetime.strptime(f"{whole}{found['offset']}", "%Y%m%d%H%M%S%f%z")
        return moment.astimezone(UTC).strftime("%Y%m%d%H%M%S%f")[: len(local)]
    except (ValueError, OverflowError):
        return local
