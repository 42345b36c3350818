"""What follows a command and is not stored: a query's identifier, or what nobody asked for."""

from collections.abc import Awaitable

from dimse_ingestion.dicom.failure import OutOfResources


class IdentifierBuffer:
    """A `DataSetSink` in memory, up to a limit in bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._content = bytearray()
        self._too_long = False

    def write(self, fragment: bytes | memoryview) -> Awaitable[None] | None:
        """Take one fragment; beyond the limit nothing more is kept."""
        if len(self._content) + len(fragment) > self._limit:
            self._too_long = True
        else:
            self._content += fragment
        return None

    def abandon(self) -> None:
        """The rest won't come."""
        self._content.clear()

    def content(self) -> bytes:
        """The identifier. Raises OutOfResources when it was longer than the limit."""
        if self._too_long:
            raise OutOfResources(f"The identifier is longer than {self._limit} bytes")
        return bytes(self._content)
