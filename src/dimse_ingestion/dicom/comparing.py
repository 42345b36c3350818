"""What two values of one VR are compared by (PS3.4 C.2.2.2): names folded, times made intervals.

Pure text in, comparable text out, so that a database and Python compare alike.
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
    """A person name (or a component group) without case, width, and what is not significant."""
    return "=".join(map(_folded_group, name.split("="))).rstrip("=")


def _folded_group(group: str) -> str:
    folded = _compatible(_compatible(group).casefold()).replace("=", _WIDE_EQUALS_SIGN)
    return folded.rstrip(_INSIGNIFICANT).lstrip()


def _compatible(text: str) -> str:
    """Return the text without differences of width and form; a long one, no name, as it is."""
    return unicodedata.normalize("NFKC", text) if len(text) <= _LONGEST_NORMALIZED else text


def name_groups(name: str) -> list[str]:
    """The folded component groups of a name: alphabetic, ideographic, phonetic (PS3.5 6.2.1)."""
    return folded_name(name).split("=")


def comparable(value: str, vr: str) -> str:
    """One value as it is compared for equality; outer blanks never count."""
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
    """Whether this is a date, time or date time, perhaps with less precision than it could have."""
    return _SHAPE[vr].fullmatch(_digits(text, vr)) is not None


def lowest(text: str, vr: str) -> str:
    """The first moment that a date (8 digits), time (12) or date time (20) stands for."""
    digits = _digits(text, vr)
    return digits + _LOWEST[vr][len(digits) :]


def highest(text: str, vr: str) -> str:
    """The last moment it stands for; a month has 31 days here, which compares as well."""
    digits = _digits(text, vr)
    return digits + _HIGHEST[vr][len(digits) :]


def _digits(text: str, vr: str) -> str:
    """Without ACR-NEMA's separators; a date time in UTC if it has an offset."""
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
