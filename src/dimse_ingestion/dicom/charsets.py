"""Text in character sets (PS3.5 section 6.1, PS3.3 C.12.1.1.2), both ways, by pydicom's codecs.

Which values are text is the VR's matter; this knows which of them Specific Character Set governs.
"""

import warnings
from contextlib import suppress

from pydicom.charset import convert_encodings, decode_bytes, encode_string

UTF_8 = "ISO_IR 192"
_GOVERNED = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_UNPARTED = frozenset({"LT", "ST", "UT", "UR"})  # one value: a backslash is a character
_ESCAPE = 0x1B
_TEXT_ENDS = {0x09, 0x0A, 0x0C, 0x0D}
_NAME_ENDS = _TEXT_ENDS | {0x5C, 0x5E, 0x3D}
_VALUE_ENDS = _TEXT_ENDS | {0x5C}
_DEFAULT = ("iso8859",)
_IR_58 = "iso_ir_58"
_IR_58_ESCAPE = b"\x1b$)A"  # GB 2312 to G1, PS3.3 table C.12-4

Codecs = tuple[str, ...]
"""Python codecs in the order of Specific Character Set's values."""


def codecs(specific_character_set: str) -> Codecs:
    """The codecs that the terms (joined by a backslash) name; unknown terms count as ASCII."""
    if not specific_character_set.strip():
        return _DEFAULT
    terms = [term.strip() for term in specific_character_set.split("\\")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return tuple(convert_encodings(terms))
        except (LookupError, ValueError):  # ValueError: a NUL in a term
            return _DEFAULT


def decoded(value: bytes, vr: str, in_codecs: Codecs) -> str:
    """The text of a value, padding at its end removed; what can't be decoded becomes U+FFFD."""
    if value.isascii() and _ESCAPE not in value:
        return value.decode("ascii").rstrip("\x00 ")
    if vr not in _GOVERNED:
        return value.decode("latin-1").rstrip("\x00 ")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = decode_bytes(value, in_codecs, _ends(vr))
    if _IR_58 in in_codecs:
        text = text.replace(_IR_58_ESCAPE.decode("ascii"), "")  # pydicom leaves it in
    return text.rstrip("\x00 ")


def _ends(vr: str) -> set[int]:
    """The bytes after which the first character set holds again (PS3.5 6.1.2.5.3)."""
    if vr == "PN":
        return _NAME_ENDS
    return _TEXT_ENDS if vr in _UNPARTED else _VALUE_ENDS


def can_write(text: str, vr: str, specific_character_set: str) -> bool:
    """Whether every character survives being written in these character sets and read again."""
    if text.isascii() or vr not in _GOVERNED:
        return True
    named = codecs(specific_character_set)
    return decoded(_written(text, vr, named), vr, named) == text.rstrip("\x00 ")


def is_writable(text: str, vr: str) -> bool:
    """Whether there is a character set for every character: lone surrogates have none.

    Values that Specific Character Set does not govern are ASCII.
    """
    if vr not in _GOVERNED:
        return text.isascii()
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _written(text: str, vr: str, in_codecs: Codecs) -> bytes:
    """Each part by itself, so that each begins in the first character set again."""
    parts = [text]
    for end in "\\^=" if vr == "PN" else "\\":
        parts = [piece for part in parts for piece in _parted(part, end)]
    return b"".join(_encoded(part, in_codecs) for part in parts)


def _parted(text: str, end: str) -> list[str]:
    first, *others = text.split(end)
    return [first, *(piece for other in others for piece in (end, other))]


def _encoded(text: str, in_codecs: Codecs) -> bytes:
    if text.isascii():
        return text.encode("ascii")
    if _IR_58 in in_codecs[1:]:
        with suppress(UnicodeError):  # pydicom leaves its escape sequence out
            return _IR_58_ESCAPE + text.encode(_IR_58)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return encode_string(text, in_codecs)


def encoded(text: str, vr: str, specific_character_set: str) -> bytes:
    """A text value's bytes, without padding; what can't be written becomes a question mark."""
    if vr not in _GOVERNED:
        return text.encode("ascii", "replace")
    return _written(text, vr, codecs(specific_character_set))
