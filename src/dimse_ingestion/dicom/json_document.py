"""A reader of JSON documents with data sets (PS3.18 annex F), one data set at a time.

Data sets are decoded one by one, and the structures of a long one are counted first, so that no
document takes many times its own size in memory. `dicom_json` converts a data set to elements.
"""

import re
from json import JSONDecoder

from dimse_ingestion.dicom.metadata_limits import MOST_ELEMENTS, MOST_VALUES, TOO_LARGE

END = object()
"""No data set follows."""

_WINDOWS = (32 * 1024, 256 * 1024)  # characters that are decoded without counting first
_DEEPEST = 256  # brackets: three for each of 64 sequences, and what is around and within
_BETWEEN = re.compile(r"[\s,]*+")
_NEXT_BRACKET = re.compile(
    r'[^"{}\[\]]*+(?:"(?:[^"\\]++|\\.)*+"[^"{}\[\]]*+)*+([{}\[\]])', re.DOTALL
)
"""Matches up to the next bracket outside of strings."""


class InvalidJson(ValueError):
    """A document that is not JSON in UTF-8."""


class DataSetTooLarge(ValueError):
    """A data set that would take too much memory."""


class JsonDocument:
    """Read the data sets of an array, or a single data set."""

    def __init__(self, document: bytes) -> None:
        """Raise InvalidJson if the document is not UTF-8."""
        try:
            self._text = document.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise InvalidJson from None
        self._decoder = JSONDecoder(
            parse_constant=_refuse_constant, object_pairs_hook=_without_repeated_keys
        )
        self._place = self._end_of_blank(0)
        self._is_array = self._text.startswith("[", self._place)
        self._place += self._is_array
        self._ended = False

    def next(self) -> object:
        """Decode the next data set, or return END; raises InvalidJson and DataSetTooLarge."""
        self._place = self._end_of_blank(self._place)
        if self._ended or (self._is_array and self._text.startswith("]", self._place)):
            return END
        self._ended = not self._is_array
        found, self._place = self._decode()
        return found

    def _decode(self) -> tuple[object, int]:
        for longest in _WINDOWS:
            window = self._text[self._place : self._place + longest]
            try:
                found, length = self._decoder.raw_decode(window)
            except (ValueError, RecursionError):  # a number can have too many digits
                if len(window) < longest:
                    raise InvalidJson from None
            else:
                return found, self._place + length
        self._check_amount()
        try:
            return self._decoder.raw_decode(self._text, self._place)
        except (ValueError, RecursionError):
            raise InvalidJson from None

    def _check_amount(self) -> None:
        """Raise DataSetTooLarge if the next data set has too many elements or values."""
        place, depth, brackets = self._place, 0, 0
        while depth > 0 or not brackets:
            found = _NEXT_BRACKET.match(self._text, place)
            if not found:
                raise InvalidJson
            place = found.end()
            depth += 1 if found[1] in "{[" else -1
            brackets += 1
            if depth > _DEEPEST:
                raise InvalidJson
            if brackets > 4 * MOST_ELEMENTS:  # of an element two objects: itself and its values
                raise DataSetTooLarge(TOO_LARGE)
        if self._text.count(",", self._place, place) > MOST_VALUES:
            raise DataSetTooLarge(TOO_LARGE)

    def _end_of_blank(self, place: int) -> int:
        found = _BETWEEN.match(self._text, place)
        return found.end() if found else place


def _refuse_constant(_: str) -> object:
    """Refuse NaN and Infinity, which JSON has not."""
    raise ValueError


def _without_repeated_keys(pairs: list[tuple[str, object]]) -> dict[str, object] | None:
    """Return the object; None, which is no data set and no attribute, if a key stands twice."""
    found = dict(pairs)
    return found if len(found) == len(pairs) else None
