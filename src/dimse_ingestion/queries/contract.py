"""What the catalogue is asked, and who answers: a level, keys, and matches streamed back.

The same elements as in events, so that a key and a stored value are compared as like with like.
What is a valid question at a level is `dicom.query_levels`' matter, what matches is
`dicom.matching`'s.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

import msgspec

from dimse_ingestion.dicom.elements import Element


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """One question to one storage space.

    `scope` is PATIENT, STUDY, SERIES or IMAGE. `keys` are matching and return keys alike: a
    zero-length value matches everything and is returned. `combined_date_time` makes the ranges of
    a date and its time one range (PS3.4 C.2.2.2.5). `limit` is the most matches wanted; one
    more than it is never computed. `all_keys` asks for everything that is known at the level, not
    for the keys alone (PS3.18 8.3.4.3, `includefield=all`).
    """

    scope: str
    keys: list[Element]
    combined_date_time: bool = False
    limit: int | None = None
    offset: int = 0
    all_keys: bool = False


class Located(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """An instance, and where the object that answers for it stands.

    `elements` are all of the instance's. `size` and `sha256` are the data set's, header left out;
    `header_size` is the byte offset of the data set in the object.
    """

    elements: list[Element]
    transfer_syntax_uid: str
    bucket_name: str
    object_name: str
    size: int
    header_size: int
    sha256: str


class QueryClient(Protocol):
    """Who answers."""

    def matches(self, query: Query) -> AsyncGenerator[list[Element], None]:
        """Matches as they are found: for each, the keys asked (or all) that the catalogue has.

        Always with the unique keys of the scope and of those above, and Specific Character Set
        as stored (value empty when ASCII). Raises DimseFailure: transient A700 when the catalogue
        is down, C001 when it refuses the question. Closing the generator ends the query there.
        """

    def objects(self, query: Query) -> AsyncGenerator[Located, None]:
        """The instances that match, with their objects, as they are found; fails like `matches`.

        The scope is IMAGE; keys choose and `all_keys` changes nothing.
        """

    async def missing(self, bucket_name: str, object_names: Sequence[str]) -> list[str]:
        """Return those of the object names that have no entry; at most a page of a listing.

        Raises DimseFailure as `matches` does.
        """

    async def check(self) -> None:
        """Raise DimseFailure with a sentence when the catalogue can't be reached."""

    async def close(self) -> None:
        """Let go of connections."""
