"""A search of QIDO-RS (PS3.18 section 10.6): its catalogue queries, and the fields it returns.

`query_parameters` parses the query string, `qido` sends the queries and the response.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from dimse_ingestion.dicom import uids
from dimse_ingestion.dicom.elements import Element, by_tag, element
from dimse_ingestion.dicom.query_levels import (
    INSTANCE_AVAILABILITY,
    MODALITIES_IN_STUDY,
    UNIQUE_KEYS,
)
from dimse_ingestion.dicom.value_representations import vr_of
from dimse_ingestion.dicomweb.http.urls import Resource
from dimse_ingestion.dicomweb.search.query_parameters import Search
from dimse_ingestion.queries.contract import Query

_CHARSET = 0x00080005
_RETRIEVE_URL = 0x00081190
_UNIQUE = frozenset(UNIQUE_KEYS[level] for level in ("STUDY", "SERIES", "IMAGE"))
_DEFAULT_FIELDS = {
    "STUDY": frozenset(
        # date, time, accession number, modalities, referring physician, time zone, description
        {0x00080020, 0x00080030, 0x00080050, 0x00080061, 0x00080090, 0x00080201, 0x00081030}
        # patient's name, ID, birth date, sex; instance UID, ID; numbers of series and instances
        | {0x00100010, 0x00100020, 0x00100030, 0x00100040}
        | {0x0020000D, 0x00200010, 0x00201206, 0x00201208}
    ),
    "SERIES": frozenset(
        # modality, time zone, description, instance UID, number, number of instances
        {0x00080060, 0x00080201, 0x0008103E, 0x0020000E, 0x00200011, 0x00201209}
        # performed procedure step, request attributes
        | {0x00400244, 0x00400245, 0x00400275}
    ),
    "IMAGE": frozenset(
        # SOP class and instance, time zone, number, frames, rows, columns, bits
        {0x00080016, 0x00080018, 0x00080201, 0x00200013}
        | {0x00280008, 0x00280010, 0x00280011, 0x00280100}
    ),
}
"""Level to the fields returned by default (PS3.18 tables 10.6.3-3 to 10.6.3-5)."""


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A search and the study or series that its URL limits it to."""

    level: str
    within: Resource
    search: Search

    def returned_tags(self) -> frozenset[int]:
        """Return the tags to return: included ones and the defaults of levels not in the URL."""
        tags = _DEFAULT_FIELDS[self.level] | self.search.included
        if self.level != "STUDY" and not self.within.study:
            tags |= _DEFAULT_FIELDS["STUDY"]
        if self.level == "IMAGE" and not self.within.series:
            tags |= _DEFAULT_FIELDS["SERIES"]
        return tags

    def returned(self, match: Iterable[Element]) -> Iterable[Element]:
        """Yield the elements of a match to return; the catalogue adds every unique key.

        Modalities in Study is left out where it has no value (type 1C in PS3.18 table 10.6.3-3):
        viewers read it as a list of values wherever it is present.
        """
        keys = {each.tag for each in self.search.keys}
        returned = self.returned_tags() | keys | _UNIQUE
        for each in match:
            if each.tag == MODALITIES_IN_STUDY and not each.value:
                continue
            if (
                each.tag in returned
                or self.search.all_fields
                or (each.value and each.tag == _CHARSET)
            ):
                yield each

    def query(self, limit: int) -> Query:
        """Return the catalogue query; one match more than `limit` shows that there are more."""
        keys = {each.tag: each for each in (*self.search.keys, *_unique_keys(self.within))}
        for tag in self.returned_tags():
            keys.setdefault(tag, element(tag, vr_of(tag)))
        return Query(
            scope=self.level,
            keys=list(keys.values()),
            limit=limit + 1,
            offset=self.search.offset,
            all_keys=self.search.all_fields,
            newest_first=self.level == "STUDY",
            after=self.search.after,
        )

    def count_query(self) -> Query:
        """Return the query for the number of all matching studies."""
        keys = [each for each in self.search.keys if each.value or each.items]
        return Query(scope=self.level, keys=keys)

    def end_query(self, limit: int) -> Query:
        """Return the query for the last of `limit` matches and the one behind it, by UIDs alone."""
        matching = [each for each in self.search.keys if each.value or each.items]
        keys = {each.tag: each for each in (*matching, *_unique_keys(self.within))}
        return msgspec.structs.replace(
            self.query(1),
            keys=list(keys.values()),
            all_keys=False,
            offset=self.search.offset + limit - 1,
        )

    def next_page(self, last: Resource, count: int) -> dict[str, str]:
        """Return the parameters of the page behind `last`, the last of `count` matches."""
        if self.level == "STUDY":
            return {"after": last.study}
        return {"offset": str(self.search.offset + count)}


def _unique_keys(within: Resource) -> Iterable[Element]:
    """Return the keys that the URL gives."""
    levels = (("STUDY", within.study), ("SERIES", within.series))
    return (element(UNIQUE_KEYS[level], "UI", uid) for level, uid in levels if uid)


def matched_resource(level: str, match: Iterable[Element]) -> Resource:
    """Return the resource of a match."""
    elements_by_tag = by_tag(match)
    levels = ("STUDY", "SERIES", "IMAGE")
    known = [elements_by_tag.get(UNIQUE_KEYS[each]) for each in levels[: levels.index(level) + 1]]
    return Resource(*(uids.strip_padding(each.value) if each else "" for each in known))


def returned_urls(level: str, url: str) -> Iterable[Element]:
    """Yield the elements that say where and whether a match can be retrieved."""
    yield element(_RETRIEVE_URL, "UR", url)
    if level != "SERIES":
        yield element(INSTANCE_AVAILABILITY, "CS", "ONLINE")
