"""A question to the catalogue and its streamed answer as HTTP bodies, for both ends.

Asked by POST to `/query/{patients|studies|series|instances|objects}` as one JSON object; answered
as NDJSON, one line a match and a last line that says how it ended. A body that breaks off without
that last line has failed: HTTP alone would let half an answer pass for a whole one. No I/O happens
here.
"""

from collections.abc import Iterator
from typing import Generic, TypeVar

import msgspec

from dimse_ingestion.dicom import element_json
from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.dicom.failure import DimseFailure, OutOfResources
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.queries.contract import Located, Query

PATHS = {
    "PATIENT": "/query/patients",
    "STUDY": "/query/studies",
    "SERIES": "/query/series",
    "IMAGE": "/query/instances",
}
"""Where each scope is asked, below the query endpoint."""

OBJECTS = "/query/objects"
"""Where instances are asked with their objects."""

MISSING = "/query/missing"
"""Where the names of a bucket's objects are compared with the catalogue's."""

MOST_NAMES = 1000
"""Names that are compared at once: those of a page of a bucket's listing."""

SOURCE = "source"
"""The query parameter that names the provider asked."""

MEDIA_TYPE = "application/x-ndjson"

LONGEST_LINE = 64 * 2**20
"""Bytes of the longest match taken: twice those of the elements that are kept of a data set."""

_MOST_STRUCTURES = 200_000  # keys and items: more than an identifier of 1 MiB has
_SCOPES = {path: scope for scope, path in PATHS.items()} | {OBJECTS: "IMAGE"}
_Found = TypeVar("_Found", list[Element], Located)
"""A match: elements, or an instance with its object; an array each, while the last line is none."""


class _Question(msgspec.Struct, frozen=True, omit_defaults=True):
    scope: str
    query_attributes: list[Element] = msgspec.field(name="queryAttributes")
    limit: int | None = None
    offset: int = 0
    combined_date_time: bool = msgspec.field(default=False, name="combinedDateTime")
    all_keys: bool = msgspec.field(default=False, name="allKeys")


class ObjectNames(msgspec.Struct, frozen=True, rename="camel"):
    """Names of objects in a bucket, to be compared; as an answer those without an entry."""

    bucket_name: str
    object_names: list[str]


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
_matches = msgspec.json.Decoder(list[Element])
_objects = msgspec.json.Decoder(Located)
_names = msgspec.json.Decoder(ObjectNames)
_lasts = msgspec.json.Decoder(_Last)


def encode_query(query: Query) -> bytes:
    """The body that asks `query`."""
    return _encoder.encode(
        _Question(
            query.scope,
            query.keys,
            query.limit,
            query.offset,
            query.combined_date_time,
            query.all_keys,
        )
    )


def decode_query(path: str, body: bytes) -> Query:
    """The query in a body posted to `path`.

    Raises ValueError with a sentence, which repeats no value of the body, if it is none.
    """
    try:
        asked = element_json.decode(_questions, body, _MOST_STRUCTURES)
        element_json.check(asked.query_attributes)
    except ValueError as wrong:
        raise ValueError(f"The query is not as agreed: {wrong}.") from None
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
        all_keys=asked.all_keys,
    )


def encode_names(names: ObjectNames) -> bytes:
    """Return the body that asks about objects, or answers which of them have no entry."""
    return _encoder.encode(names)


def decode_names(body: bytes) -> ObjectNames:
    """Return the names in a body posted to `MISSING`, or answered from there.

    Raises ValueError with a sentence, which repeats no value of the body, if it is none.
    """
    try:
        names = element_json.decode(_names, body, _MOST_STRUCTURES)
    except ValueError as wrong:
        raise ValueError(f"The names are not as agreed: {wrong}.") from None
    if len(names.object_names) > MOST_NAMES:
        raise ValueError(f"More than {MOST_NAMES} names are compared.")
    return names


def encode_match(match: list[Element] | Located) -> bytes:
    """One line of an answer: a match, or one with its object."""
    return _encoder.encode(match) + b"\n"


def encode_end(count: int) -> bytes:
    """The last line of an answer that is whole: `count` matches were sent."""
    return _encoder.encode(_Last(end=True, count=count)) + b"\n"


def encode_error(failure: DimseFailure) -> bytes:
    """The last line of an answer that failed on the way."""
    error = _Error(failure.status, failure.comment, failure.transient)
    return _encoder.encode(_Last(error=error)) + b"\n"


class AnswerReader(Generic[_Found]):
    """An answer as its bytes arrive; feed them, take matches, and finish.

    After `ended`, nothing more is taken. Made by `match_reader` and `object_reader`.
    """

    def __init__(self, matches: msgspec.json.Decoder[_Found]) -> None:
        self._matches: msgspec.json.Decoder[_Found] = matches
        self._rest = bytearray()
        self._count = 0
        self.ended = False

    def feed(self, data: bytes) -> Iterator[_Found]:
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

    def _read(self, line: bytes) -> Iterator[_Found]:
        try:
            if line.startswith(b"{"):
                self._end(_lasts.decode(line))
                return
            found = self._matches.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise OutOfResources("The catalogue sent an answer that is not as agreed.") from None
        self._count += 1
        yield found

    def _end(self, last: _Last) -> None:
        self.ended = True
        if last.error:
            raise _failure(last.error)
        if not last.end or last.count != self._count:
            raise OutOfResources("Matches were lost on the way from the catalogue.")


def match_reader() -> AnswerReader[list[Element]]:
    """Reads the answer of one of `PATHS`."""
    return AnswerReader(_matches)


def object_reader() -> AnswerReader[Located]:
    """Reads the answer of `OBJECTS`."""
    return AnswerReader(_objects)


def _failure(error: _Error) -> DimseFailure:
    """The catalogue's failure; a status this release doesn't know is C001."""
    known = error.status in Status.__members__.values()
    status = Status(error.status) if known else Status.UNABLE_TO_PROCESS
    return DimseFailure(status, error.comment, transient=error.transient)
