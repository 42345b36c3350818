"""Limits on one data set that comes as DICOM JSON or XML, applied before memory is taken for it.

A data set of a few bytes for each element or value would take many times its own size in memory.
The limits leave room for an enhanced multi-frame image of 10,000 frames.
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
    """What may still come of a data set."""

    def __init__(self) -> None:
        self._elements = MOST_ELEMENTS
        self._values = MOST_VALUES

    def spend(self, *, elements: int = 0, values: int = 0) -> None:
        """Count what came; raises ValueError when it is too much."""
        self._elements -= elements
        self._values -= values
        if self._elements < 0 or self._values < 0:
            raise ValueError(TOO_LARGE)
