"""A question to the catalogue and its streamed answer as HTTP bodies, for both ends.

Asked by POST to `/query/{patients|studies|series|instances}` as one JSON object; answered as
NDJSON, one line a match and a last line that says how it ended. A body that breaks off without that
last line has failed: HTTP alone would let half an answer pass for a whole one. No I/O happens here.
"""

from collections.abc import Iterator

import msgspec

from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.dicom.failure import DimseFailure, OutOfResources
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.queries.contract import Query

PATHS = {
    "PATIENT": "/query/patients",
    "STUDY": "/query/studies",
    "SERIES": "/query/series",
    "IMAGE": "/query/instances",
}
"""Where each scope is asked, below the query endpoint."""

SOURCE = "source"
"""The query parameter that names the provider asked."""

MEDIA_TYPE = "application/x-ndjson"

LONGEST_LINE = 8 * 2**20
"""Bytes of the longest match taken: far above a data set's elements without bulk data."""

_SCOPES = {path: scope for scope, path in PATHS.items()}


class _Question(msgspec.Struct, frozen=True, omit_defaults=True):
    scope: str
    query_attributes: list[Element] = msgspec.field(name="queryAttributes")
    limit: int | None = None
    offset: int = 0
    combined_date_time: bool = msgspec.field(default=False, name="combinedDateTime")


class _Error(msgspec.Struct, frozen=True):
    status: int
    comment: str
    transient: bool


class _Last(msgspec.Struct, frozen=True, omit_defaults=True):
    end: bool = False
    count: int = 0
    error: _Error | None = None


_encoder = msgspec.json.Encoder()
_questions = msgspec.json.Decoder(_Question)
_lines = msgspec.json.Decoder(list[Element] | _Last)


def encoded_query(query: Query) -> bytes:
    """The body that asks `query`."""
    return _encoder.encode(
        _Question(query.scope, query.keys, query.limit, query.offset, query.combined_date_time)
    )


def decoded_query(path: str, body: bytes) -> Query:
    """The query in a body posted to `path`.

    Raises ValueError with a sentence, which repeats no value of the body, if it is none.
    """
    try:
        asked = _questions.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"The query is not as agreed: {_place(error)}.") from None
    if _SCOPES.get(path.rstrip("/")) != asked.scope:
        raise ValueError("The query's scope is not that of the address it was posted to.")
    if asked.offset < 0 or (asked.limit is not None and asked.limit < 0):
        raise ValueError("The query's limit and offset can't be negative.")
    return Query(
        scope=asked.scope,
        keys=asked.query_attributes,
        limit=asked.limit,
        offset=asked.offset,
        combined_date_time=asked.combined_date_time,
    )


def encoded_match(match: list[Element]) -> bytes:
    """One line of an answer: a match."""
    return _encoder.encode(match) + b"\n"


def encoded_end(count: int) -> bytes:
    """The last line of an answer that is whole: `count` matches were sent."""
    return _encoder.encode(_Last(end=True, count=count)) + b"\n"


def encoded_error(failure: DimseFailure) -> bytes:
    """The last line of an answer that failed on the way."""
    error = _Error(failure.status, failure.comment, failure.transient)
    return _encoder.encode(_Last(error=error)) + b"\n"


class AnswerReader:
    """An answer as its bytes arrive; feed them, take matches, and finish.

    After `ended`, nothing more is taken.
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self._count = 0
        self.ended = False

    def feed(self, data: bytes) -> Iterator[list[Element]]:
        """The matches that `data` completes.

        Raises DimseFailure: the one the catalogue sent; transient A700 when the answer is not as
        agreed, or its count is not that of the matches that arrived.
        """
        *whole, rest = data.split(b"\n")
        for end_of_line in whole:
            line = bytes(self._rest) + end_of_line
            self._rest.clear()
            if line and not self.ended:
                yield from self._read(line)
        self._rest += rest
        if len(self._rest) > LONGEST_LINE:
            raise OutOfResources("The catalogue sent a match too long to be taken.")

    def finish(self) -> None:
        """Say that the body is over; raises transient A700 if its last line is missing."""
        if not self.ended:
            raise OutOfResources("The catalogue broke off its answer.")

    def _read(self, line: bytes) -> Iterator[list[Element]]:
        try:
            read = _lines.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise OutOfResources("The catalogue sent an answer that is not as agreed.") from None
        if isinstance(read, _Last):
            self._end(read)
        else:
            self._count += 1
            yield read

    def _end(self, last: _Last) -> None:
        self.ended = True
        if last.error:
            raise _failure(last.error)
        if not last.end or last.count != self._count:
            raise OutOfResources("Matches were lost on the way from the catalogue.")


def _failure(error: _Error) -> DimseFailure:
    """The catalogue's failure; a status this release doesn't know is C001."""
    known = error.status in Status.__members__.values()
    status = Status(error.status) if known else Status.UNABLE_TO_PROCESS
    return DimseFailure(status, error.comment, transient=error.transient)


def _place(error: Exception) -> str:
    """Where and what, as msgspec says it: types and paths, no values."""
    return str(error) if isinstance(error, msgspec.ValidationError) else "malformed JSON"
