"""Lookup tables of an image applied to its values (PS3.3 C.7.6.3.1.5, C.11.1, C.11.2, C.11.4).

Some writers leave them empty or shorter than their descriptor says: existing entries are used, and
an invalid table is ignored. Runs in the processes of `decoder_pool`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

Pixels = NDArray[Any]
_MAX_ENTRIES = 2**16
_SIGNED = 2**15


@dataclass(frozen=True)
class LookupTable:
    """Entries for inputs from `first` on; inputs outside get the first or last entry."""

    first: int
    entries: Pixels
    bits: int

    def apply(self, values: Pixels) -> Pixels:
        """Return the entry for each value; a value that is not a number counts as 0."""
        place = np.nan_to_num(values).astype(np.int64) - self.first
        entries: Pixels = self.entries[np.clip(place, 0, len(self.entries) - 1)]
        return entries

    @property
    def maximum(self) -> int:
        """Return the largest value of an entry."""
        return int(2**self.bits - 1)


def sequence_table(data_set: Dataset, keyword: str) -> LookupTable | None:
    """Return the table of a sequence's first item, or None where it has none."""
    try:
        items = data_set.get(keyword) or []
        item: Dataset | None = items[0] if len(items) else None
    except (TypeError, ValueError):
        return None
    return None if item is None else table(item, "LUTDescriptor", "LUTData", data_set)


def table(item: Dataset, descriptor: str, data: str, image: Dataset) -> LookupTable | None:
    """Return the table of two attributes, or None where they are invalid."""
    try:
        count, first, bits = (int(each) for each in item.get(descriptor))
        value = item.get(data)
        raw = value if isinstance(value, bytes) else np.atleast_1d(value).astype("<u2").tobytes()
    except (TypeError, ValueError, OverflowError):
        return None
    count = count % _MAX_ENTRIES or _MAX_ENTRIES
    if not 1 <= bits <= 16 or not raw:
        return None
    is_signed = image.get("PixelRepresentation", 0) == 1
    first = first - 2 * _SIGNED if is_signed and first >= _SIGNED else first
    if _has_bytes(raw, count, bits):
        return LookupTable(first, np.frombuffer(raw, np.uint8)[:count], min(bits, 8))
    words = np.frombuffer(raw[: len(raw) // 2 * 2], "<u2")[:count]
    return LookupTable(first, words, bits) if len(words) else None


def _has_bytes(raw: bytes, count: int, bits: int) -> bool:
    """Tell whether entries are bytes, by their length, as writers differ (PS3.3 C.11.1.1.1)."""
    return len(raw) in (count, count + count % 2) or (bits <= 8 and len(raw) < 2 * count)
