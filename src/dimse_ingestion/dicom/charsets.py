"""Decoding and encoding of text by Specific Character Set (PS3.5 section 6.1, PS3.3 C.12.1.1.2).

Misspelt terms are understood as well. `code_extensions` handles escape sequences within a value.
"""

import codecs as python_codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from dimse_ingestion.dicom import code_extensions
from dimse_ingestion.dicom.code_extensions import KATAKANA, LATIN_1, CodedSet

UTF_8 = "ISO_IR 192"
_GOVERNED = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
SINGLE_VALUED = frozenset({"LT", "ST", "UT", "UR"})  # one value: a backslash is a character
_TEXT_ENDS = "\t\n\f\r"
_NAME_ENDS = _TEXT_ENDS + "\\^="
_VALUE_ENDS = _TEXT_ENDS + "\\"
_PADDING = "\x00 "
_REPLACED = "?"

_DEFAULT_REPERTOIRE = 6
_REGISTERED = {
    13: KATAKANA,
    58: "gb2312",
    100: LATIN_1,
    101: "iso8859_2",
    109: "iso8859_3",
    110: "iso8859_4",
    126: "iso8859_7",
    127: "iso8859_6",
    138: "iso8859_8",
    144: "iso8859_5",
    148: "iso8859_9",
    149: "euc_kr",
    166: "tis_620",
    203: "iso8859_15",
}
"""Python codecs of the sets with high bytes, by their ISO-IR number."""
_DOUBLE_BYTE = {87: code_extensions.JIS_X_0208, 159: code_extensions.JIS_X_0212}
_NUMBER_OF = {codec: number for number, codec in _REGISTERED.items()}
_ONLY_BY_ESCAPE = frozenset({58, 87, 149, 159})  # PS3.3 table C.12-4
_WHOLE = {"utf_8": UTF_8, "gb18030": "GB18030", "gbk": "GBK"}
"""Codecs without code extensions (PS3.3 table C.12-5) and their defined terms."""
_UTF_8_NUMBER = 192

_NUMBERED = re.compile(r"(?:ISO)?[ _.-]*(?:2022)?[ _.-]*(?:IR)?[ _.-]*(\d{1,3})")
_ISO_8859 = re.compile(r"(?:ISO)?[ _.-]*8859[ _.-]*(\d{1,2})")
_GUO_BIAO = re.compile(r"(?:ISO[ _.-]*(?:2022)?[ _.-]*)?(GB[ _.-]*18030|GBK|GB[ _.-]*2312)")
_SEPARATORS = re.compile(r"[ _.-]+")
_FIELD_NAMES = re.compile(
    r"us-ascii|ascii|latin-?[1-9]|utf-?8|(?:cp|windows-?)(?:125[0-8]|437|850|866|874|932|936|949)"
    r"|shift-jis|sjis|euc-(?:jp|kr)|koi8-[ru]|big5"
)
"""Names of other systems that some devices write instead of a term."""
_LONGEST_TERMS = 256  # characters of Specific Character Set that are read


@dataclass(frozen=True, slots=True)
class Codecs:
    """The codecs to decode a data set's text with."""

    first: str
    """The Python codec of text without an escape sequence."""
    extended: bool
    """True if escape sequences switch sets: UTF-8, GB18030 and GBK have none."""
    preferred: str = ""
    """A codec that is used if it decodes a whole value: e.g. UTF-8 named at a position where the
    standard doesn't allow it."""


def codecs(specific_character_set: str) -> Codecs:
    """Return the codecs for terms that are joined by a backslash."""
    return _codecs(specific_character_set[:_LONGEST_TERMS])


def defined_terms(specific_character_set: str) -> str:
    """Return the terms in the standard's spelling, or an empty string if one is unknown."""
    return _defined_terms(specific_character_set[:_LONGEST_TERMS])


@lru_cache(maxsize=256)
def _codecs(terms: str) -> Codecs:
    first, *others = (_codec(term) for term in terms.split("\\"))
    if first in _WHOLE:
        return Codecs(first, extended=False)
    whole = next((each for each in others if each in _WHOLE), "")
    # the default repertoire has no high bytes, so they belong to another set that is named
    first = first or next((each for each in others if each and each not in _WHOLE), LATIN_1)
    return Codecs(first, extended=True, preferred=whole)


def _codec(term: str) -> str:
    """Return the Python codec of a term's high bytes; empty if it has none or is unknown."""
    term = term.strip(_PADDING).upper()
    if guo_biao := _GUO_BIAO.fullmatch(term):
        name = _SEPARATORS.sub("", guo_biao[1])
        return "gbk" if name == "GBK" else name.lower()
    if part := _ISO_8859.fullmatch(term):
        return _python_codec(f"iso8859-{int(part[1])}")
    if (number := _number(term)) is not None:
        return "utf_8" if number == _UTF_8_NUMBER else _REGISTERED.get(number, "")
    name = _SEPARATORS.sub("-", term.lower())
    return _python_codec(name) if _FIELD_NAMES.fullmatch(name) else ""


def _number(term: str) -> int | None:
    """Return the ISO-IR number in a term of any spelling, or None."""
    found = _NUMBERED.fullmatch(term)
    return int(found[1]) if found else None


def _python_codec(name: str) -> str:
    try:
        found = python_codecs.lookup(name).name.replace("-", "_")
    except LookupError:
        return ""
    return {"ascii": "", "cp936": "gbk"}.get(found, found)


@lru_cache(maxsize=256)
def _defined_terms(terms: str) -> str:
    split = terms.split("\\")
    if (whole := _WHOLE.get(_codec(split[0]))) is not None:
        return whole
    numbers = [_registered_number(term) for term in split]
    if None in numbers:
        return ""
    (first, *others) = numbers
    if first in _ONLY_BY_ESCAPE:
        first, others = _DEFAULT_REPERTOIRE, numbers
    if not others:
        return "" if first == _DEFAULT_REPERTOIRE else f"ISO_IR {first}"
    named = [f"ISO 2022 IR {number}" for number in others if number != _DEFAULT_REPERTOIRE]
    omitted = first == _DEFAULT_REPERTOIRE and not (split[0].strip(_PADDING) and others != numbers)
    return "\\".join(["" if omitted else f"ISO 2022 IR {first}", *named])


def _registered_number(term: str) -> int | None:
    """Return a term's ISO-IR number, or None if the standard has no such set."""
    term = term.strip(_PADDING).upper()
    if not term:
        return _DEFAULT_REPERTOIRE
    if (codec := _codec(term)) in _NUMBER_OF:
        return _NUMBER_OF[codec]
    number = _number(term)
    return number if number in _DOUBLE_BYTE or number == _DEFAULT_REPERTOIRE else None


def is_ascii(value: bytes) -> bool:
    """Return whether a value is ASCII without code extensions: the same text in every set."""
    return value.isascii() and code_extensions.ESCAPE not in value


def decode(value: bytes, vr: str, in_codecs: Codecs) -> str:
    """Decode a value to text without trailing padding.

    Undecodable bytes become U+FFFD.
    """
    if is_ascii(value):
        return value.decode("ascii").rstrip(_PADDING)
    escaped = code_extensions.ESCAPE in value
    if vr not in _GOVERNED:
        return value.decode("latin-1").rstrip(_PADDING)
    return _decode(value, vr, in_codecs, escaped=escaped).rstrip(_PADDING)


def _decode(value: bytes, vr: str, in_codecs: Codecs, *, escaped: bool) -> str:
    if in_codecs.preferred:
        try:
            return value.decode(in_codecs.preferred)
        except UnicodeDecodeError:
            pass
    if escaped and in_codecs.extended:
        return code_extensions.decode(value, in_codecs.first, _ends(vr))
    return code_extensions.decode_bytes(value, in_codecs.first)


def _ends(vr: str) -> str:
    """Return the delimiters that reset text to the first character set (PS3.5 6.1.2.5.3)."""
    if vr == "PN":
        return _NAME_ENDS
    return _TEXT_ENDS if vr in SINGLE_VALUED else _VALUE_ENDS


def can_encode(text: str, vr: str, specific_character_set: str) -> bool:
    """Return whether text is unchanged after encoding in these sets and decoding."""
    if text.isascii() or vr not in _GOVERNED:
        return True
    try:
        written = _encode(text, vr, specific_character_set)
    except UnicodeEncodeError:
        return False
    return decode(written, vr, codecs(specific_character_set)) == text.rstrip(_PADDING)


def is_encodable(text: str, vr: str) -> bool:
    """Return whether any character set can encode the text; lone surrogates can't be encoded.

    VRs that Specific Character Set does not govern take ASCII only.
    """
    if vr not in _GOVERNED:
        return text.isascii()
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _encode(text: str, vr: str, specific_character_set: str) -> bytes:
    """Encode a value; raises UnicodeEncodeError for a character that no set has."""
    terms = specific_character_set.split("\\")
    first = _codec(terms[0])
    if first in _WHOLE:
        return text.encode(first)
    if len(terms) == 1:
        return _encode_single_set(text, first)
    return code_extensions.encode(text, _coded_set(terms[0]), _coded_sets(terms[1:]), _ends(vr))


def _encode_single_set(text: str, codec: str) -> bytes:
    if codec == KATAKANA:  # of Shift JIS only the letters of one byte
        return code_extensions.encode(text, CodedSet(g1=KATAKANA), (), "")
    return text.encode(codec or "ascii")


def _coded_sets(terms: Sequence[str]) -> list[CodedSet]:
    return [found for term in terms if (found := _coded_set(term)) is not None]


def _coded_set(term: str) -> CodedSet | None:
    number = _registered_number(term)
    if number in _DOUBLE_BYTE:
        return _DOUBLE_BYTE[number]
    return CodedSet(g1=_REGISTERED[number]) if number in _REGISTERED else None


def encode(text: str, vr: str, specific_character_set: str) -> bytes:
    """Encode a text value without padding; characters that no set has become question marks."""
    if vr not in _GOVERNED or text.isascii():
        return text.encode("ascii", "replace")
    try:
        return _encode(text, vr, specific_character_set)
    except UnicodeEncodeError:
        return b"".join(_encode_or_replace(each, vr, specific_character_set) for each in text)


def _encode_or_replace(character: str, vr: str, specific_character_set: str) -> bytes:
    try:
        return _encode(character, vr, specific_character_set)
    except UnicodeEncodeError:
        return _REPLACED.encode()
