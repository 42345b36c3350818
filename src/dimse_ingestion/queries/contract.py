"""The query to the catalogue, and the interface of the client that sends it and streams matches.

Keys have the same element type as events, so that a key and a stored value can be compared. Which
keys are valid at a level is in `dicom.query_levels`, the matching rules are in `dicom.matching`.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

import msgspec

from dimse_ingestion.dicom.elements import Element


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """A query to one storage space.

    `scope` is the level: PATIENT, STUDY, SERIES or IMAGE. `keys` are matching and return keys: a
    zero-length value matches everything and is returned. `combined_date_time` makes the ranges of
    a date and its time one range (PS3.4 C.2.2.2.5). `limit` is the largest number of matches; no
    match beyond it is computed. `all_keys` returns all elements known at the level, not the keys
    alone (PS3.18 8.3.4.3, `includefield=all`). `locations_only` leaves of an instance's elements
    only its SOP class and instance UID; an older catalogue returns all.

    Studies come as they were first stored, or with `newest_first` the other way round; then
    `after` is the UID of a study, and only studies behind it are returned.
    """

    scope: str
    keys: list[Element]
    combined_date_time: bool = False
    limit: int | None = None
    offset: int = 0
    all_keys: bool = False
    locations_only: bool = False
    newest_first: bool = False
    after: str = ""


class Located(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """An instance, and the location of its object in the bucket.

    `elements` are all of the instance's. `size` and `sha256` are the data set's, header left out;
    `header_size` is the byte offset of the data set in the object. The AE titles, the proxy and
    when it had received the data set (RFC 3339) are empty where they are not known.
    """

    elements: list[Element]
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


class ObjectsDigest(msgspec.Struct, frozen=True):
    """The number of matching instances, and a digest that changes when one of them is replaced."""

    count: int
    digest: str


class QueryClient(Protocol):
    """Client of the catalogue."""

    def matches(self, query: Query) -> AsyncGenerator[list[Element], None]:
        """Yield matches as they arrive: for each, those of the keys (or all) that have a value.

        Each has the unique keys of the scope and of the levels above, and Specific Character Set
        as stored (value empty when ASCII). Raises Unavailable when the catalogue
        is down, LimitExceeded for too many matches, and Invalid or Refused when it refuses the
        query. Closing the generator ends the query there.
        """

    def objects(self, query: Query) -> AsyncGenerator[Located, None]:
        """Yield the matching instances with their objects; raises as `matches` does.

        The scope is IMAGE; keys only select, and `all_keys` changes nothing.
        """

    async def count(self, query: Query) -> int | None:
        """Return the number of matching studies, None where counting would take long.

        Raises Failure as `matches` does.
        """

    async def digest(self, query: Query) -> ObjectsDigest:
        """Return the digest of the matching instances; keys are UIDs alone. Raises as `matches`."""

    async def missing(self, bucket_name: str, object_names: Sequence[str]) -> list[str]:
        """Return those of the object names that have no entry; at most a page of a listing.

        Raises Failure as `matches` does.
        """

    async def check(self) -> None:
        """Raise Failure with a sentence when the catalogue can't be reached."""

    async def close(self) -> None:
        """Close all connections."""
