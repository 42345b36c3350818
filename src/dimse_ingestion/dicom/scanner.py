"""The scanner: it reads the elements of a data set while its bytes are being transferred.

It is incremental and bounded: it takes chunks of any size and skips pixel data and other large
values, so that a 2 GiB object takes no more memory than its header. It works in slices, so that a
data set of a million elements does not block other work. Every transfer syntax (PS3.5 annex A) is
read; only text is decoded. It records the lengths of the fragments of encapsulated pixel data, so
that a single frame can be read later. It does not store the data set.
"""

import zlib
from collections.abc import Iterator

from dimse_ingestion.dicom import element_headers, uids
from dimse_ingestion.dicom.byte_feed import ByteFeed, EndOfData, Inflater
from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.header_reader import cannot_understand
from dimse_ingestion.dicom.limits import ParserLimits
from dimse_ingestion.dicom.parser import Parser

_PIECES_OF_A_SLICE = 8  # inflated
_BEGINNING = 16 * 1024  # bytes of a chunk: most data sets have their header in so many


class Scanner:
    """Scan one data set: feed it all chunks in order, then finish it.

    Every method raises DimseFailure C000 with a sentence if the data set can't be parsed, and again
    in each later call. Offsets of references into a deflated data set
    count its inflated bytes. `is_file_meta` reads group 2, which no data set may have.
    """

    def __init__(
        self,
        transfer_syntax_uid: str,
        limits: ParserLimits | None = None,
        *,
        is_file_meta: bool = False,
    ) -> None:
        self._limits = limits or ParserLimits()
        self._source = ByteFeed()
        self._parser = Parser(self._source, self._limits, is_file_meta=is_file_meta)
        self._parsing = self._parser.data_set(element_headers.syntax_of(transfer_syntax_uid))
        self._inflating = Inflater() if transfer_syntax_uid in uids.DEFLATED else None
        self._inflated = 0
        self._failure: DimseFailure | None = None

    def feed(self, chunk: bytes | memoryview) -> None:
        """Scan the next bytes."""
        for _ in self.feed_in_slices(chunk):
            pass

    def feed_in_slices(self, chunk: bytes | memoryview) -> Iterator[None]:
        """Scan the next bytes in slices of work; the caller can do other work in between."""
        if self._inflating is None:
            # what a value to skip has in a long chunk is not buffered when its header came before
            yield from self._resume(chunk[:_BEGINNING])
            if len(chunk) > _BEGINNING:
                yield from self._resume(memoryview(chunk)[_BEGINNING:])
            return
        try:
            for number, piece in enumerate(self._inflating.pieces(chunk), start=1):
                self._count_inflated(len(piece))
                yield from self._resume(piece)
                if number % _PIECES_OF_A_SLICE == 0:
                    yield
        except zlib.error as broken:
            self._failure = cannot_understand(f"The deflated data set is damaged ({broken}).")
            raise self._failure from broken

    def finish(self) -> list[Element]:
        """Return the elements after all bytes were fed."""
        if self._inflating is not None and not self._inflating.complete:
            raise self._failure or cannot_understand("The deflated data set ends early.")
        self._source.ended = True
        for _ in self._resume(b""):
            pass
        return self._parser.elements

    @property
    def skippable(self) -> int:
        """The number of the next bytes that need not be fed; 0 for a deflated data set."""
        return 0 if self._inflating else self._source.skippable

    def mark_skipped(self, length: int) -> None:
        """Skip the next `length` bytes, at most `skippable`, without feeding them."""
        self._source.mark_skipped(length)
        self.feed(b"")

    @property
    def elements(self) -> list[Element]:
        """The elements read so far."""
        return self._parser.elements

    @property
    def has_duplicates(self) -> bool:
        """Return whether a tag occurred twice in a data set or item; the first one is used."""
        return self._parser.has_duplicates

    @property
    def cost(self) -> int:
        """The cost of the elements so far, as `ParserLimits.retained` counts it."""
        return self._limits.retained - self._parser.budget.left

    def _resume(self, data: bytes | memoryview) -> Iterator[None]:
        """Resume the parser with more bytes, one slice of work at a time."""
        if self._failure:
            raise self._failure
        source = self._source
        source.add(data)
        try:
            next(self._parsing, None)
            while source.paused:
                source.paused = False
                yield
                next(self._parsing, None)
        except EndOfData:
            self._failure = cannot_understand(
                f"The data set ends early, after {source.offset} bytes."
            )
            raise self._failure from None
        except DimseFailure as failure:
            self._failure = failure
            raise

    def _count_inflated(self, length: int) -> None:
        self._inflated += length
        if self._inflated > self._limits.inflated:
            self._failure = cannot_understand(
                f"Inflated, the data set has more than {self._limits.inflated} bytes."
            )
            raise self._failure


def scan(
    data_set: bytes | memoryview, transfer_syntax_uid: str, *, is_file_meta: bool = False
) -> list[Element]:
    """Return the elements of a whole data set; raises DimseFailure C000."""
    scanner = Scanner(transfer_syntax_uid, is_file_meta=is_file_meta)
    scanner.feed(data_set)
    return scanner.finish()
