"""Stored values mapped to eight bits of grey or colour (PS3.3 C.7.6.3, C.11), strip by strip.

Windows, palettes and lookup tables are applied here. All are optional: one that is empty, invalid
or not a number is ignored, because an image without its window is better than none. Some writers
leave tables empty or shorter than their descriptor says: existing entries are used. `rendering`
uses it, in a process or a thread.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_color_lut

from dimse_ingestion.pixels.jobs import Window

Pixels = NDArray[Any]
_Shading = Callable[[Pixels], Pixels]
_EIGHT_BITS = 255
_LONGEST_COUNTED = 2  # bytes of a sample whose values are few enough for a table
_STRIP = 2**20  # pixels: each takes eight bytes during the mapping
_COLOURS = ("Red", "Green", "Blue")
_MAX_ENTRIES = 2**16
_SIGNED = 2**15


@dataclass(frozen=True)
class _LookupTable:
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


def _sequence_table(data_set: Dataset, keyword: str) -> _LookupTable | None:
    """Return the table of a sequence's first item, or None where it has none."""
    try:
        items = data_set.get(keyword) or []
        item: Dataset | None = items[0] if len(items) else None
    except (TypeError, ValueError):
        return None
    return None if item is None else _table(item, "LUTDescriptor", "LUTData", data_set)


def _table(item: Dataset, descriptor: str, data: str, image: Dataset) -> _LookupTable | None:
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
        return _LookupTable(first, np.frombuffer(raw, np.uint8)[:count], min(bits, 8))
    words = np.frombuffer(raw[: len(raw) // 2 * 2], "<u2")[:count]
    return _LookupTable(first, words, bits) if len(words) else None


def _has_bytes(raw: bytes, count: int, bits: int) -> bool:
    """Tell whether entries are bytes, by their length, as writers differ (PS3.3 C.11.1.1.1)."""
    return len(raw) in (count, count + count % 2) or (bits <= 8 and len(raw) < 2 * count)


def grey_pixels(pixels: Pixels, data_set: Dataset, window: Window | None) -> Pixels:
    """Return one sample per pixel as eight bits of grey, or as colours of a palette."""
    if data_set.get("PhotometricInterpretation") == "PALETTE COLOR":
        if (palette := _palette(data_set)) is not None:
            return _apply_palette(pixels, palette)
        if (coloured := _apply_segmented_palette(pixels, data_set)) is not None:
            return coloured
    prepared = _modality_lut(data_set)
    shading = _shading(pixels, prepared, data_set, window)

    def greys(values: Pixels) -> Pixels:
        eight: Pixels = (shading(prepared(values)) * _EIGHT_BITS + 0.5).astype(np.uint8)
        return eight

    if (shown := _shown_by_table(pixels, greys)) is not None:
        return shown
    shown = np.empty(pixels.shape, np.uint8)
    for part, target in zip(_strips(pixels), _strips(shown), strict=True):
        target[...] = greys(part)
    return shown


def _shown_by_table(pixels: Pixels, greys: _Shading) -> Pixels | None:
    """Return the greys by a table of those of each value; None if there are too many values.

    Pixels have far fewer values than there are pixels, and each costs several floating point
    operations.
    """
    is_countable = pixels.dtype.kind in "iu" and pixels.dtype.itemsize <= _LONGEST_COUNTED
    if not is_countable or not pixels.dtype.isnative or not pixels.size:
        return None
    low, high = int(pixels.min()), int(pixels.max())
    if high - low >= pixels.size:
        return None
    unsigned = np.dtype(f"u{pixels.dtype.itemsize}")
    values = np.arange(low, high + 1).astype(pixels.dtype)
    table = np.zeros(2 ** (8 * pixels.dtype.itemsize), np.uint8)
    table[values.view(unsigned)] = greys(values)
    shown: Pixels = table.take(pixels.view(unsigned))
    return shown


def colour_pixels(pixels: Pixels, data_set: Dataset) -> Pixels:
    """Return three samples per pixel as eight bits each."""
    return _to_eight_bits(pixels[..., :3], data_set.get("BitsStored", 8))


def numbers(data_set: Dataset, keyword: str) -> list[float]:
    """Return an attribute's values; an empty list unless all of them are numbers."""
    try:
        value = data_set.get(keyword)
        numbers_ = [float(each) for each in (value if isinstance(value, MultiValue) else [value])]
    except (TypeError, ValueError):
        return []
    return numbers_ if all(map(math.isfinite, numbers_)) else []


def _strips(pixels: Pixels) -> Iterator[Pixels]:
    rows = max(1, _STRIP // max(1, pixels.shape[1]))
    for row in range(0, pixels.shape[0], rows):
        yield pixels[row : row + rows]


def _modality_lut(data_set: Dataset) -> _Shading:
    """Return the function that applies the modality LUT to stored values."""
    lookup = _sequence_table(data_set, "ModalityLUTSequence")
    slope = (numbers(data_set, "RescaleSlope") or [1.0])[0] or 1.0
    intercept = (numbers(data_set, "RescaleIntercept") or [0.0])[0]

    def values(pixels: Pixels) -> Pixels:
        stored = _stored_bits(pixels, data_set)
        if lookup is not None:
            return lookup.apply(stored).astype(np.float64)
        rescaled: Pixels = stored.astype(np.float64) * slope + intercept
        return rescaled

    return values


def _stored_bits(pixels: Pixels, data_set: Dataset) -> Pixels:
    """Remove other bits of the cells, such as overlays in older data sets (PS3.5 8.1.2)."""
    cell = pixels.dtype.itemsize * 8
    stored = data_set.get("BitsStored", cell)
    if pixels.dtype.kind not in "iu" or not 0 < stored < min(cell, data_set.BitsAllocated):
        return pixels
    above = cell - 1 - min(data_set.get("HighBit", stored - 1), cell - 1)
    shifted: Pixels = (pixels << above) >> (cell - stored)
    return shifted


def _shading(
    pixels: Pixels, values: _Shading, data_set: Dataset, window: Window | None
) -> _Shading:
    """Return the function that maps values to 0 (black) to 1 (white)."""
    shading = _voi_shading(pixels, values, data_set, window)
    shape = data_set.get("PresentationLUTShape", "")
    is_inverse = data_set.get("PhotometricInterpretation") == "MONOCHROME1" or shape == "INVERSE"
    return (lambda each: 1.0 - shading(each)) if is_inverse else shading


def _voi_shading(
    pixels: Pixels, values: _Shading, data_set: Dataset, window: Window | None
) -> _Shading:
    """Return the shading by requested window, stored VOI LUT, stored window, or range of values."""
    lookup = _sequence_table(data_set, "VOILUTSequence") if window is None else None
    if lookup is not None:
        return _table_shading(lookup)
    window = window or _stored_window(data_set)
    if window is not None:
        return _window_shading(window)
    return _range_shading(*_range(values(part) for part in _strips(pixels)))


def _table_shading(lookup: _LookupTable) -> _Shading:
    """Return the shading by the first VOI LUT (PS3.3 C.11.2.1.1)."""
    return lambda values: np.clip(lookup.apply(values) / float(lookup.maximum), 0.0, 1.0)


def _stored_window(data_set: Dataset) -> Window | None:
    """Return the first valid window, or None."""
    function = str(data_set.get("VOILUTFunction") or "LINEAR").lower().replace("_", "-")
    pairs = zip(numbers(data_set, "WindowCenter"), numbers(data_set, "WindowWidth"), strict=False)
    minimum = 1.0 if function not in ("linear-exact", "sigmoid") else math.ulp(0.0)
    return next((Window(c, w, function) for c, w in pairs if w >= minimum), None)


def _window_shading(window: Window) -> _Shading:
    """Return the shading by a window (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    center, width = window.center, window.width
    if window.function == "sigmoid":
        return lambda values: (
            1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - center) / width, -700.0, 700.0)))
        )
    if window.function != "linear-exact":
        center, width = center - 0.5, max(width - 1.0, 1e-6)
    return lambda values: np.nan_to_num(np.clip((values - center) / width + 0.5, 0.0, 1.0))


def _range(strips: Iterator[Pixels]) -> tuple[float, float]:
    """Return the smallest and the largest finite value."""
    minimum, maximum = math.inf, -math.inf
    for strip in strips:
        finite = strip[np.isfinite(strip)]
        if finite.size:
            minimum, maximum = min(minimum, finite.min()), max(maximum, finite.max())
    return (float(minimum), float(maximum)) if minimum <= maximum else (0.0, 1.0)


def _range_shading(minimum: float, maximum: float) -> _Shading:
    width = (maximum - minimum) or 1.0
    return lambda values: np.clip(np.nan_to_num((values - minimum) / width), 0.0, 1.0)


def _palette(data_set: Dataset) -> list[_LookupTable] | None:
    """Return a table for each colour, or None where one is missing."""
    name = "{}PaletteColorLookupTable"
    tables = [
        _table(data_set, f"{name.format(each)}Descriptor", f"{name.format(each)}Data", data_set)
        for each in _COLOURS
    ]
    complete = [each for each in tables if each is not None]
    return complete if len(complete) == len(_COLOURS) else None


def _apply_palette(pixels: Pixels, palette: list[_LookupTable]) -> Pixels:
    shown = np.empty((*pixels.shape, len(palette)), np.uint8)
    for number, each in enumerate(palette):
        entries = each.entries >> max(0, _used_bits(each) - 8)
        eight = _LookupTable(each.first, entries.astype(np.uint8), 8)
        for part, target in zip(_strips(pixels), _strips(shown[..., number]), strict=True):
            target[...] = eight.apply(part)
    return shown


def _apply_segmented_palette(pixels: Pixels, data_set: Dataset) -> Pixels | None:
    """Return colours by a segmented palette (PS3.3 C.7.9.2), or None where it is invalid."""
    if "SegmentedRedPaletteColorLookupTableData" not in data_set:
        return None
    try:
        return _to_eight_bits(apply_color_lut(pixels, data_set)[..., :3], 16)
    except Exception:  # noqa: BLE001 - it raises many kinds of errors
        return None


def _used_bits(palette: _LookupTable) -> int:
    """Return the bits used in entries: some writers use the lower 8 of 16 (PS3.3 C.7.6.3.1.6)."""
    return max(8, palette.bits)


def _to_eight_bits(pixels: Pixels, stored: int) -> Pixels:
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    if pixels.dtype.kind == "f":
        return (np.clip(pixels, 0.0, 1.0) * _EIGHT_BITS).astype(np.uint8)
    return np.ascontiguousarray((pixels >> max(0, stored - 8)).astype(np.uint8))
