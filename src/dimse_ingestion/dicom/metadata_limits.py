"""Limits on a data set in DICOM JSON or XML, applied before memory is allocated for it.

Short elements and values would take many times their own size in memory. The limits allow an
enhanced multi-frame image of 10,000 frames.
"""

MOST_ELEMENTS = 500_000
"""Elements, items and values that are objects of their own."""
MOST_VALUES = 2_000_000
"""Values, separators and absent values."""
TOO_LARGE = (
    f"The data set has more than {MOST_ELEMENTS} elements and items, or {MOST_VALUES} values: "
    "send its long values as bulk data."
)


class MetadataBudget:
    """Count down the elements and values that a data set may still have."""

    def __init__(self) -> None:
        self._elements = MOST_ELEMENTS
        self._values = MOST_VALUES

    def spend(self, *, elements: int = 0, values: int = 0) -> None:
        """Count elements and values; raises ValueError above the limits."""
        self._elements -= elements
        self._values -= values
        if self._elements < 0 or self._values < 0:
            raise ValueError(TOO_LARGE)
