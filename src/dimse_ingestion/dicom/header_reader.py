"""The header reader of the parser, which bounds its work.

Every element, item and fragment starts with a header, so work is counted here: the parser pauses
after a slice, and fails after the maximum number of headers. `element_headers` decodes one header,
`parser` reads what follows it.
"""

from collections.abc import Generator

from dimse_ingestion.dicom import element_headers
from dimse_ingestion.dicom.byte_feed import ByteFeed, ParserSteps
from dimse_ingestion.dicom.element_headers import Header
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.limits import Scope
from dimse_ingestion.dicom.status import Status

_SLICE = 1024  # elements, items and fragments, about 3 ms of work


class Malformed(DimseFailure):
    """Invalid items; a value of known length can still be stored as bytes."""

    def __init__(self, sentence: str) -> None:
        super().__init__(Status.CANNOT_UNDERSTAND, sentence)


class HeaderReader:
    """Reads at most `parts` headers out of `source`; `work_left` of a slice may be spent otherwise.

    Raises DimseFailure C000 for more.
    """

    def __init__(self, source: ByteFeed, parts: int) -> None:
        self._source = source
        self._parts = self._parts_left = parts
        self._slice = self.work_left = min(_SLICE, parts)

    def next(self, place: Scope) -> Generator[None, None, Header]:
        """Return the next header; raises Malformed if it exceeds the enclosing item or sequence."""
        if self.work_left <= 0:
            yield from self._end_slice()
        self.work_left -= 1
        source = self._source
        length = element_headers.SHORTEST
        yield from source.wait_for(min(length, place.end - source.offset))
        if source.offset + length <= place.end and element_headers.is_long(source, place.syntax):
            length = element_headers.LONGEST
        if source.offset + length > place.end:
            raise Malformed("An element begins where the item or sequence around it ends.")
        yield from source.wait_for(length)
        return element_headers.read_available(source, place.syntax, signed=place.signed)

    def next_available(self, place: Scope) -> Header | None:
        """Return the next header without a generator, or None if it must be waited for."""
        source = self._source
        if (
            self.work_left <= 0
            or len(source.buffer) - source.start < element_headers.LONGEST
            or source.offset + element_headers.LONGEST > place.end
        ):
            return None
        self.work_left -= 1
        return element_headers.read_available(source, place.syntax, signed=place.signed)

    def _end_slice(self) -> ParserSteps:
        """Pause; raises DimseFailure after the maximum number of headers."""
        self._parts_left -= self._slice - self.work_left
        if self._parts_left <= 0:
            raise cannot_understand(
                f"The data set has more than {self._parts} elements and fragments."
            )
        self._slice = self.work_left = min(_SLICE, self._parts_left)
        yield from self._source.pause()


def cannot_understand(sentence: str) -> DimseFailure:
    """Return the failure for a data set that can't be parsed (C000)."""
    return DimseFailure(Status.CANNOT_UNDERSTAND, sentence)
