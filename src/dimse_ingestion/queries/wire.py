"""HTTP bodies of a query to the catalogue and of its streamed answer, for client and server.

A query is one JSON object, sent by POST to `/query/{patients|studies|series|instances|objects}`.
The answer is NDJSON: a line for each match, and a last line that says how it ended. A body without
that last line is a failure: with HTTP alone, half an answer could be taken for a whole one. No I/O
happens here.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

import msgspec

from dimse_ingestion.dicom import element_json
from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.dicom.raw_items import encoder
from dimse_ingestion.failures import (
    AccessDenied,
    Failure,
    Invalid,
    LimitExceeded,
    Refused,
    Unavailable,
)
from dimse_ingestion.queries.contract import Located, Query
from dimse_ingestion.queries.match_line import decode_match, decode_object

PATHS = {
    "PATIENT": "/query/patients",
    "STUDY": "/query/studies",
    "SERIES": "/query/series",
    "IMAGE": "/query/instances",
}
"""The path for queries of each scope, below the query endpoint."""

OBJECTS = "/query/objects"
"""The path for queries whose answers have instances with their objects."""

COUNT = "/query/count"
"""The path for queries of studies that are answered by the number of matches."""

DIGEST = "/query/digest"
"""The path for queries of instances by UIDs that are answered by a digest of their objects."""

MISSING = "/query/missing"
"""The path at which the names of a bucket's objects are compared with the catalogue's."""

MOST_NAMES = 1000
"""Largest number of names in one comparison: a page of a bucket's listing."""

SOURCE = "source"
"""The query parameter that names the provider, whose storage space is searched."""

MEDIA_TYPE = "application/x-ndjson"

LONGEST_LINE = 64 * 2**20
"""Bytes of the longest accepted match: twice those of the elements recorded of a data set."""

_MOST_STRUCTURES = 200_000  # keys and items: more than an identifier of 1 MiB has
_SCOPES = {path: scope for scope, path in PATHS.items()} | {
    OBJECTS: "IMAGE",
    COUNT: "STUDY",
    DIGEST: "IMAGE",
}
_Match = TypeVar("_Match", list[Element], Located)
"""A match: elements, or an instance with its object; both are arrays, the last line is none."""


class _QueryBody(msgspec.Struct, frozen=True, omit_defaults=True):
    scope: str
    query_attributes: list[Element] = msgspec.field(name="queryAttributes")
    limit: int | None = None
    offset: int = 0
    combined_date_time: bool = msgspec.field(default=False, name="combinedDateTime")
    all_keys: bool = msgspec.field(default=False, name="allKeys")
    newest_first: bool = msgspec.field(default=False, name="newestFirst")
    after: str = ""
    locations_only: bool = msgspec.field(default=False, name="locationsOnly")


class EncodedLocated(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A `Located` whose elements are encoded already, as the catalogue has them."""

    elements: msgspec.Raw
    transfer_syntax_uid: str
    bucket_name: str
    object_name: str
    size: int
    header_size: int
    sha256: str
    calling_ae_title: str = ""
    called_ae_title: str = ""
    proxy_id: str = ""
    received_at: str = ""


class ObjectNames(msgspec.Struct, frozen=True, rename="camel"):
    """Names of objects in a bucket: those to compare, or in the answer those without an entry."""

    bucket_name: str
    object_names: list[str]


class _Error(msgspec.Struct, frozen=True):
    """The failure of a query, by the name of its kind.

    Releases before the kinds had the DIMSE status alone: it is still read and written, so that
    catalogue and clients may be updated in any order.
    """

    comment: str
    transient: bool
    kind: str = ""
    status: int = 0


class _LastLine(msgspec.Struct, frozen=True, omit_defaults=True):
    end: bool = False
    count: int = 0
    error: _Error | None = None


_FORMER_STATUSES: Mapping[type[Failure], int] = {
    Unavailable: 0xA700,
    LimitExceeded: 0xA700,
    Invalid: 0xA900,
    AccessDenied: 0xC001,
    Refused: 0xC001,
}
"""DIMSE status of each kind in the form of former releases; goes with the next release."""
_KINDS = tuple(_FORMER_STATUSES)  # AccessDenied before Refused, which it is too

_query_bodies = msgspec.json.Decoder(_QueryBody)
_names = msgspec.json.Decoder(ObjectNames)
_last_lines = msgspec.json.Decoder(_LastLine)


def encode_query(query: Query) -> bytes:
    """Return the body of a request for `query`."""
    return encoder.encode(
        _QueryBody(
            query.scope,
            query.keys,
            query.limit,
            query.offset,
            query.combined_date_time,
            query.all_keys,
            query.newest_first,
            query.after,
            query.locations_only,
        )
    )


def decode_query(path: str, body: bytes) -> Query:
    """Return the query in a body posted to `path`.

    Raises ValueError with a sentence, which repeats no value of the body, if it has none.
    """
    try:
        body_query = element_json.decode(_query_bodies, body, _MOST_STRUCTURES)
        element_json.check(body_query.query_attributes)
    except ValueError as wrong:
        raise ValueError(f"The query is malformed: {wrong}.") from None
    if _SCOPES.get(path.rstrip("/")) != body_query.scope:
        raise ValueError("The query's scope is not that of the path it was posted to.")
    if body_query.offset < 0 or (body_query.limit is not None and body_query.limit < 0):
        raise ValueError("The query's limit and offset can't be negative.")
    _check_order(body_query)
    return Query(
        scope=body_query.scope,
        keys=body_query.query_attributes,
        limit=body_query.limit,
        offset=body_query.offset,
        combined_date_time=body_query.combined_date_time,
        all_keys=body_query.all_keys,
        newest_first=body_query.newest_first,
        after=body_query.after,
        locations_only=body_query.locations_only,
    )


def _check_order(body_query: _QueryBody) -> None:
    if body_query.newest_first and body_query.scope != "STUDY":
        raise ValueError("Only studies can be ordered with the newest first.")
    if body_query.after and not body_query.newest_first:
        raise ValueError("Only studies in the order with the newest first can begin after one.")
    if "\0" in body_query.after:
        raise ValueError("The UID of the study is malformed.")


def encode_names(names: ObjectNames) -> bytes:
    """Return the body with names to compare, or with those that have no entry."""
    return encoder.encode(names)


def decode_names(body: bytes) -> ObjectNames:
    """Return the names in a body of a request to `MISSING`, or of its answer.

    Raises ValueError with a sentence, which repeats no value of the body, if it has none.
    """
    try:
        names = element_json.decode(_names, body, _MOST_STRUCTURES)
    except ValueError as wrong:
        raise ValueError(f"The list of names is malformed: {wrong}.") from None
    if "\0" in names.bucket_name or any("\0" in each for each in names.object_names):
        raise ValueError("The list of names is malformed: a name contains a NUL character.")
    if len(names.object_names) > MOST_NAMES:
        raise ValueError(f"The list has more than {MOST_NAMES} names: send fewer at once.")
    return names


def encode_match(match: list[Element] | Located | EncodedLocated) -> bytes:
    """Return the line of an answer for one match."""
    return encoder.encode(match) + b"\n"


def encode_end(count: int) -> bytes:
    """Return the last line of a complete answer, in which `count` matches were sent."""
    return encoder.encode(_LastLine(end=True, count=count)) + b"\n"


def encode_error(failure: Failure) -> bytes:
    """Return the last line of an answer that failed."""
    kind = next((each for each in _KINDS if isinstance(failure, each)), Refused)
    error = _Error(failure.comment, failure.transient, kind.__name__, _FORMER_STATUSES[kind])
    return encoder.encode(_LastLine(error=error)) + b"\n"


class AnswerReader(Generic[_Match]):
    """Incremental reader of an answer: `feed` its bytes, take the matches, then `finish`.

    Bytes after the last line (`ended`) are ignored. `cost` is about the last match's memory.
    """

    def __init__(self, decode: Callable[[bytearray], tuple[_Match, int]]) -> None:
        self._decode: Callable[[bytearray], tuple[_Match, int]] = decode
        self._partial_line = bytearray()
        self._count = 0
        self.ended = False
        self.cost = 0

    @property
    def arrived(self) -> int:
        """Bytes of the line that still arrives."""
        return len(self._partial_line)

    def feed(self, data: bytes) -> Iterator[_Match]:
        """Yield the matches that `data` completes.

        Raises the Failure that the catalogue sent, and Unavailable when the answer is malformed, or
        its count is not that of the matches that arrived.
        """
        *ends_of_lines, rest = data.split(b"\n")
        for end_of_line in ends_of_lines:
            self._partial_line += end_of_line
            yield from self._read()
        self._partial_line += rest
        if len(self._partial_line) > LONGEST_LINE:
            raise Unavailable("The catalogue sent a match that is too long.")

    def finish(self) -> None:
        """Mark the end of the body; raises Unavailable if its last line is missing."""
        if not self.ended:
            raise Unavailable("The catalogue broke off its answer.")

    def _read(self) -> Iterator[_Match]:
        line, self._partial_line = self._partial_line, bytearray()
        if not line or self.ended:
            return
        try:
            if line.startswith(b"{"):
                self._end(_last_lines.decode(line))
                return
            match, self.cost = self._decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Unavailable("The catalogue sent a malformed answer.") from None
        self._count += 1
        yield match

    def _end(self, last: _LastLine) -> None:
        self.ended = True
        if last.error:
            raise _failure(last.error)
        if not last.end or last.count != self._count:
            raise Unavailable("Matches were lost on the way from the catalogue.")


def match_reader() -> AnswerReader[list[Element]]:
    """Return a reader for the answer to a query at one of `PATHS`."""
    return AnswerReader(decode_match)


def object_reader() -> AnswerReader[Located]:
    """Return a reader for the answer to a query at `OBJECTS`."""
    return AnswerReader(decode_object)


def _failure(error: _Error) -> Failure:
    """Return the failure that the catalogue sent; a kind this release doesn't know is Refused."""
    kinds = {each.__name__: each for each in _KINDS}
    kind = kinds.get(error.kind, Refused) if error.kind else _former_kind(error)
    if kind is Unavailable:
        return Unavailable(error.comment)
    return kind(error.comment, transient=error.transient)


def _former_kind(error: _Error) -> type[Failure]:
    """Return the kind for the DIMSE status that a former release sent instead."""
    if error.status == _FORMER_STATUSES[Unavailable]:
        return Unavailable if error.transient else LimitExceeded
    return Invalid if error.status == _FORMER_STATUSES[Invalid] else Refused
