"""Code extensions: text that switches character sets by escape sequences (PS3.5 6.1.2.5).

The codec has two states of ISO/IEC 2022: G0 is the set of bytes below 80H, G1 of those above.
`charsets` reads the names of the sets and decodes text without escape sequences. Decoding accepts
what devices write (sets that aren't named, a missing escape sequence before a delimiter or the
end); encoding follows the standard exactly.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

ESCAPE = 0x1B
_ASCII = "ascii"
_JIS_X_0208, _JIS_X_0212 = "jis_x_0208", "jis_x_0212"
_TO_ASCII, _TO_ROMAN = b"\x1b(B", b"\x1b(J"
LATIN_1 = "iso8859_1"
KATAKANA = "shift_jis"
"""Used for JIS X 0201 (its single-byte letters), and for Shift JIS that is labelled as it."""

_G0_ESCAPES = {
    b"\x1b(B": _ASCII,
    b"\x1b(J": _ASCII,  # romaji: its yen sign and overline stand for backslash and tilde
    b"\x1b$B": _JIS_X_0208,
    b"\x1b$@": _JIS_X_0208,  # the edition of 1978
    b"\x1b$(D": _JIS_X_0212,
}
_G1_ESCAPES = {
    b"\x1b-A": LATIN_1,
    b"\x1b-B": "iso8859_2",
    b"\x1b-C": "iso8859_3",
    b"\x1b-D": "iso8859_4",
    b"\x1b-F": "iso8859_7",
    b"\x1b-G": "iso8859_6",
    b"\x1b-H": "iso8859_8",
    b"\x1b-L": "iso8859_5",
    b"\x1b-M": "iso8859_9",
    b"\x1b-T": "tis_620",
    b"\x1b-b": "iso8859_15",
    b"\x1b)I": KATAKANA,
    b"\x1b$)A": "gb2312",
    b"\x1b$)C": "euc_kr",
}
"""Escape sequences of PS3.3 tables C.12-3 and C.12-4."""
_G0_OF = {codec: escape for escape, codec in reversed(_G0_ESCAPES.items())}
_G1_OF = {codec: escape for escape, codec in _G1_ESCAPES.items()}
_SUPERSETS = {"euc_kr": "cp949", "gb2312": "gb18030", KATAKANA: "cp932"}
"""Vendor extensions of a set, tried for bytes that the set itself doesn't have."""
_EUC_SINGLE_SHIFT = {_JIS_X_0208: b"", _JIS_X_0212: b"\x8f"}
_JIS_CODECS = ("euc_jp", "euc_jis_2004")
_HIGH_BIT = bytes(byte | 0x80 for byte in range(256))

_FRAGMENTS = re.compile(rb"\x1b?[^\x1b]*")
_ESCAPE_SEQUENCE = re.compile(rb"\x1b[\x20-\x2f]+[\x30-\x7e]")
_GRAPHIC = re.compile(rb"[\x21-\x7e]+|[^\x21-\x7e]+")
_PAIR = 2


def decode(value: bytes, initial_g1: str, delimiters: str) -> str:
    """Decode a value with escape sequences.

    `initial_g1` is the codec of high bytes at the start and after each of the `delimiters`, which
    also reset G0 to ASCII. Undecodable bytes become U+FFFD; unknown escape sequences stay.
    """
    reader = _Reader(initial_g1, delimiters)
    return "".join([reader.read(fragment) for fragment in _FRAGMENTS.findall(value)])


class _Reader:
    """Decode one value, holding its G0 and G1 states."""

    def __init__(self, initial_g1: str, delimiters: str) -> None:
        self._initial_g1 = self._g1 = initial_g1
        self._g0 = _ASCII
        self._delimiters = delimiters.encode("ascii")
        self._delimiter = re.compile(rb"[%s]" % re.escape(self._delimiters))

    def read(self, fragment: bytes) -> str:
        """Decode bytes up to the next escape sequence, after applying the one at their start."""
        text = self._apply_escape(fragment)
        if self._g0 != _ASCII:
            return self._decode_pairs(text)
        if self._g1 == self._initial_g1:
            return decode_bytes(text, self._g1)
        reset = self._delimiter.search(text)
        if reset is None:
            return decode_bytes(text, self._g1)
        before = decode_bytes(text[: reset.start()], self._g1)
        return before + self._reset_and_decode(text[reset.start() :])

    def _apply_escape(self, fragment: bytes) -> bytes:
        """Apply the escape sequence at the start and return the rest; keep an unknown one."""
        found = _ESCAPE_SEQUENCE.match(fragment)
        if found is None:
            return fragment
        if (g0 := _G0_ESCAPES.get(found[0])) is not None:
            self._g0 = g0
        elif (g1 := _G1_ESCAPES.get(found[0])) is not None:
            self._g1 = g1
        else:
            return fragment
        return fragment[found.end() :]

    def _reset_and_decode(self, text: bytes) -> str:
        """Reset to the first sets at a delimiter, and decode the text from it on."""
        self._g0, self._g1 = _ASCII, self._initial_g1
        return decode_bytes(text, self._g1)

    def _decode_pairs(self, text: bytes) -> str:
        """Decode text whose bytes below 80H are pairs, up to a delimiter outside of pairs."""
        read: list[str] = []
        for run in _GRAPHIC.finditer(text):
            found = run[0]
            if not 0x21 <= found[0] <= 0x7E:
                end = self._ends_at(found, 0, len(found))
                read.append(decode_bytes(found[:end], self._g1))
            else:
                end = self._read_run(found, read)
            if end < len(found):
                return "".join(read) + self._reset_and_decode(text[run.start() + end :])
        return "".join(read)

    def _read_run(self, run: bytes, read: list[str]) -> int:
        """Decode a run of pairs into `read`; return a delimiter's position or the length."""
        whole = len(run) // _PAIR * _PAIR
        if (characters := _decode_jis(run[:whole], self._g0)) is not None:
            read.append(characters)
            return self._read_rest(run, whole, read)
        for start in range(0, whole, _PAIR):
            character = _decode_jis(run[start : start + _PAIR], self._g0)
            if character is None and run[start] in self._delimiters:
                return start
            read.append(character or "\N{REPLACEMENT CHARACTER}")
        return self._read_rest(run, whole, read)

    def _read_rest(self, run: bytes, whole: int, read: list[str]) -> int:
        end = self._ends_at(run, whole, len(run))
        read.append(run[whole:end].decode("ascii"))
        return end

    def _ends_at(self, text: bytes, start: int, end: int) -> int:
        reset = self._delimiter.search(text, start, end)
        return reset.start() if reset else end


def _decode_jis(pairs: bytes, g0: str) -> str | None:
    """Decode pairs of bytes of JIS X 0208 or 0212; return None if one is invalid."""
    shift = _EUC_SINGLE_SHIFT[g0]
    high = pairs.translate(_HIGH_BIT)
    if shift:
        high = b"".join(shift + high[at : at + _PAIR] for at in range(0, len(high), _PAIR))
    for codec in _JIS_CODECS:
        try:
            return high.decode(codec)
        except UnicodeDecodeError:
            continue
    return None


def decode_bytes(value: bytes, codec: str) -> str:
    """Decode bytes by one codec, or by a vendor's extension of it if that fails.

    Undecodable bytes become U+FFFD.
    """
    try:
        return value.decode(codec)
    except UnicodeDecodeError:
        superset = _SUPERSETS.get(codec)
    if superset is not None:
        try:
            return value.decode(superset)
        except UnicodeDecodeError:
            pass
    return value.decode(codec, "replace")


@dataclass(frozen=True, slots=True)
class CodedSet:
    """A character set that an escape sequence selects: pairs in G0, or a codec in G1."""

    g0: str = ""
    g1: str = ""

    @property
    def escape(self) -> bytes:
        """The escape sequence that selects it."""
        return _G0_OF[self.g0] if self.g0 else _G1_OF[self.g1]

    def encode(self, character: str) -> bytes:
        """Encode a character; empty if the set doesn't have it."""
        if self.g0:
            return _encode_jis(character, self.g0)
        return encode_high(character, self.g1)


JIS_X_0208 = CodedSet(g0=_JIS_X_0208)
JIS_X_0212 = CodedSet(g0=_JIS_X_0212)


def encode_high(character: str, g1: str) -> bytes:
    """Encode a character in bytes above 80H; empty if the codec has none for it."""
    try:
        encoded = character.encode(g1)
    except UnicodeEncodeError:
        return b""
    if g1 == KATAKANA and len(encoded) > 1:
        return b""
    return encoded if all(byte & 0x80 for byte in encoded) else b""


def _encode_jis(character: str, g0: str) -> bytes:
    try:
        encoded = character.encode("euc_jp")
    except UnicodeEncodeError:
        return b""
    shift = _EUC_SINGLE_SHIFT[g0]
    if len(encoded) != len(shift) + _PAIR or not encoded.startswith(shift) or encoded[0] == 0x8E:
        return b""
    return bytes(byte & 0x7F for byte in encoded[len(shift) :])


def encode(text: str, first: CodedSet | None, others: Sequence[CodedSet], delimiters: str) -> bytes:
    """Encode a value in these sets; `first` is the initial G1.

    Each of the `delimiters`, and the end, resets to the first sets. Raises UnicodeEncodeError for a
    character that none of the sets has.
    """
    writer = _Writer(first, others)
    for character in text:
        if character in delimiters:
            writer.reset()
        writer.write(character)
    writer.reset()
    return bytes(writer.encoded)


class _Writer:
    """Encode one value, holding its G0 and G1 states."""

    def __init__(self, first: CodedSet | None, others: Iterable[CodedSet]) -> None:
        self.encoded = bytearray()
        self._first = first
        self._others = tuple(others)
        self._to_single = _TO_ROMAN if first and first.g1 == KATAKANA else _TO_ASCII
        self._g0: CodedSet | None = None
        self._g1 = first

    def reset(self) -> None:
        """Go back to the first sets."""
        self._end_pairs()
        self._g1 = self._first

    def write(self, character: str) -> None:
        """Append one character, with an escape sequence before it if needed."""
        if character.isascii():
            self._end_pairs()
            self.encoded += character.encode("ascii")
            return
        current = self._g0 or self._g1
        if current is not None and (encoded := current.encode(character)):
            self.encoded += encoded
            return
        self._switch(character)

    def _switch(self, character: str) -> None:
        candidates = (self._first, *self._others) if self._first else self._others
        for each in candidates:
            if encoded := each.encode(character):
                self._switch_to(each)
                self.encoded += each.escape + encoded
                return
        raise UnicodeEncodeError("iso2022", character, 0, 1, "no character set has it")

    def _switch_to(self, coded_set: CodedSet) -> None:
        if coded_set.g0:
            self._g0 = coded_set
        else:
            self._end_pairs()
            self._g1 = coded_set

    def _end_pairs(self) -> None:
        """Leave the set of pairs; G1 is selected again afterwards, for readers with one state."""
        if self._g0 is not None:
            self.encoded += self._to_single
            self._g0 = self._g1 = None
