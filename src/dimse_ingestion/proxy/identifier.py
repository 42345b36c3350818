"""The in-memory sink for data sets that are not stored, such as the identifier of a C-FIND."""

from collections.abc import Awaitable

from dimse_ingestion.failures import LimitExceeded


class IdentifierBuffer:
    """Collect a data set in memory, up to a limit in bytes; it is a `DataSetSink`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._content = bytearray()
        self._too_long = False

    def write(self, fragment: bytes | memoryview) -> Awaitable[None] | None:
        """Add one fragment; beyond the limit fragments are dropped and the content is invalid."""
        if len(self._content) + len(fragment) > self._limit:
            self._too_long = True
        else:
            self._content += fragment
        return None

    def abandon(self) -> None:
        """Discard the content."""
        self._content.clear()

    def content(self) -> bytes:
        """Return the identifier. Raises LimitExceeded if it was longer than the limit."""
        if self._too_long:
            raise LimitExceeded(f"The identifier is longer than {self._limit} bytes")
        return bytes(self._content)
