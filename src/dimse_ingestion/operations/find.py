"""C-FIND (PS3.4 C.4.1): queries the catalogue for an identifier and encodes its matches.

`dicom.query_levels` decides which keys a level supports, and the catalogue decides what matches.
This module sends the query, completes each match and encodes it in the right character set.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from dimse_ingestion.dicom import charsets, encoder, limits
from dimse_ingestion.dicom.elements import Element, by_tag, element, is_large
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.query_levels import (
    INSTANCE_AVAILABILITY,
    QUERY_RETRIEVE_LEVEL,
    RETRIEVE_AE_TITLE,
    UNIQUE_KEYS,
    QueryKeys,
    levels_to,
    parse_query,
)
from dimse_ingestion.dicom.scanner import Scanner
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import LimitExceeded
from dimse_ingestion.operations.scan_pacing import ScanPacing
from dimse_ingestion.queries.contract import Query, QueryClient


class Finder:
    """Answers the C-FINDs of one storage space; `maximum_matches` bounds each."""

    def __init__(
        self, queries: QueryClient, maximum_matches: int, pacing: ScanPacing | None = None
    ) -> None:
        self._queries = queries
        self._maximum_matches = maximum_matches
        self._pacing = pacing or ScanPacing()

    async def parse_query(
        self, identifier: bytes, sop_class_uid: str, transfer_syntax_uid: str, *, relational: bool
    ) -> QueryKeys:
        """Return the query that an identifier describes.

        Raises DimseFailure with a sentence: C001 for an identifier that can't be read, A900 for a
        query that its SOP class does not allow, and Unavailable when too many large data sets
        are read at once.
        """
        try:
            elements = await self._elements(identifier, transfer_syntax_uid)
        except DimseFailure as failure:
            raise DimseFailure(
                Status.UNABLE_TO_PROCESS, f"Identifier unreadable: {failure.comment}"
            ) from failure
        return parse_query(elements, sop_class_uid, relational=relational)

    async def _elements(self, identifier: bytes, transfer_syntax_uid: str) -> list[Element]:
        scanner = Scanner(transfer_syntax_uid, limits.IDENTIFIER)
        with self._pacing.share() as share:
            await share.feed(scanner, identifier)
            return scanner.finish()

    async def matches(
        self,
        query: QueryKeys,
        retrieve_ae_title: str,
        transfer_syntax_uid: str,
        *,
        combined_date_time: bool = False,
    ) -> AsyncGenerator[bytes, None]:
        """Yield the matches, each as an identifier in `transfer_syntax_uid`.

        Without a `retrieve_ae_title` they are unavailable: no AE would send them to the requestor.

        Raises Failure as the catalogue's client does, and LimitExceeded after the most matches.
        """
        maximum = self._maximum_matches
        catalogue_query = Query(
            scope=query.level,
            keys=_query_keys(query),
            combined_date_time=combined_date_time,
            limit=maximum + 1,
        )
        count = 0
        async with aclosing(self._queries.matches(catalogue_query)) as matches:
            async for match in matches:
                if count == maximum:
                    sentence = f"More than {maximum} matches: narrow the query."
                    raise LimitExceeded(sentence)
                count += 1
                if is_large(match):  # the event loop runs other tasks
                    yield await asyncio.to_thread(
                        _identifier, match, query, retrieve_ae_title, transfer_syntax_uid
                    )
                else:
                    yield _identifier(match, query, retrieve_ae_title, transfer_syntax_uid)
                del match  # a large one is in memory no longer than it is reserved


def pending_status(query: QueryKeys) -> Status:
    """Return FF01 when an optional key is not supported (PS3.4 table C.4-1), else FF00."""
    unsupported = bool(query.unsupported)
    return Status.PENDING_WITHOUT_OPTIONAL_KEYS if unsupported else Status.PENDING


def _query_keys(query: QueryKeys) -> list[Element]:
    """Return the keys, and the unique keys of this level and those above for every match."""
    present = {key.tag for key in query.keys}
    unique = (UNIQUE_KEYS[level] for level in levels_to(query.level))
    vrs = {UNIQUE_KEYS["PATIENT"]: "LO"}
    return [
        *query.keys,
        *(element(tag, vrs.get(tag, "UI")) for tag in unique if tag not in present),
    ]


def _identifier(
    match: list[Element], query: QueryKeys, retrieve_ae_title: str, transfer_syntax_uid: str
) -> bytes:
    elements_by_tag = by_tag(match)
    stored = elements_by_tag.pop(encoder.SPECIFIC_CHARACTER_SET, None)
    elements = _completed(elements_by_tag, query, retrieve_ae_title)
    character_set = encoder.response_character_set(elements, stored.value if stored else "")
    try:
        return encoder.encode(elements, transfer_syntax_uid, character_set)
    except ValueError:
        writable = [each for each in elements if _is_writable(each, transfer_syntax_uid)]
        return encoder.encode(writable, transfer_syntax_uid, character_set)


def _completed(
    elements_by_tag: dict[int, Element], query: QueryKeys, retrieve_ae_title: str
) -> list[Element]:
    """Return a match with every requested key, empty if without value, and the SCP's own keys."""
    for key in query.keys:
        elements_by_tag.setdefault(key.tag, element(key.tag, key.vr))
    for tag, vr, value in (
        (QUERY_RETRIEVE_LEVEL, "CS", query.level),
        (RETRIEVE_AE_TITLE, "AE", retrieve_ae_title),
        (INSTANCE_AVAILABILITY, "CS", "ONLINE" if retrieve_ae_title else "UNAVAILABLE"),
    ):
        elements_by_tag[tag] = element(tag, vr, value)
    return [
        each if each.bulk is None else element(each.tag, each.vr)
        for each in elements_by_tag.values()
    ]


def _is_writable(each: Element, transfer_syntax_uid: str) -> bool:
    """Tell whether a stored value fits its VR; one that does not is left out of its match."""
    try:
        encoder.encode([each], transfer_syntax_uid, charsets.UTF_8)
    except ValueError:
        return False
    return True
