"""What a search asks, read from its query string (PS3.18 section 8.3.4 and table 10.6.1-2).

Attributes to match become the same keys that a C-FIND has; what a level can answer is
`dicom.query_levels`' table. Nothing is asked here.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from dimse_ingestion.dicom.elements import Element, element
from dimse_ingestion.dicom.query_levels import supported
from dimse_ingestion.dicom.value_representations import vr_of
from dimse_ingestion.dicomweb.attributes import path_of
from dimse_ingestion.dicomweb.problems import Problem

_BAD_REQUEST = 400
_MOST_ATTRIBUTES = 200
_ANSWERED_ELSEWHERE = frozenset({"accept", "charset"})
_UNSUPPORTED = {
    "fuzzymatching": "Only literal matching has been performed.",
    "emptyvaluematching": "An empty value has matched everything.",
    "multiplevaluematching": "Each value has been matched for itself.",
}
"""What can be asked for and is not done → what was done instead."""
_LISTED = frozenset({"CS", "UI"})  # VRs whose values have no comma: it parts several
_UNPRINTABLE = frozenset(map(chr, range(32))) - set("\t\n\f\r")
_NAMES = {"STUDY": "studies", "SERIES": "series", "IMAGE": "instances"}
_Path = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Search:
    """One search; `warnings` say what was asked for and is not done."""

    keys: list[Element]
    included: frozenset[int] = frozenset()
    everything: bool = False
    limit: int | None = None
    offset: int = 0
    warnings: list[str] = field(default_factory=list)


def search(level: str, parameters: Iterable[tuple[str, str]]) -> Search:
    """The search at a level that a query string's parameters ask.

    Raises Problem 400 with a sentence that names the attribute.
    """
    asked: dict[str, list[str]] = {}
    for name, value in parameters:
        asked.setdefault(name, []).append(value)
    included = [
        each.strip() for value in asked.pop("includefield", []) for each in value.split(",")
    ]
    limit, offset = _number(asked, "limit"), _number(asked, "offset")
    warnings = list(_warnings(asked))
    matched = {path_of(name): _one(name, values) for name, values in asked.items()}
    if len(matched) + len(included) > _MOST_ATTRIBUTES:
        raise Problem(_BAD_REQUEST, f"The search names more than {_MOST_ATTRIBUTES} attributes.")
    for path in matched:
        _check_searchable(level, path)
    return Search(
        keys=_keys(matched),
        included=frozenset(path_of(each)[0] for each in included if each and each != "all"),
        everything="all" in included,
        limit=limit,
        offset=offset or 0,
        warnings=warnings,
    )


def _number(asked: dict[str, list[str]], name: str) -> int | None:
    values = asked.pop(name, None)
    if values is None:
        return None
    if len(values) > 1 or not values[0].isascii() or not values[0].isdecimal():
        raise Problem(_BAD_REQUEST, f"{name} must be one number, 0 or more.")
    return min(int(values[0][:18]), 2**53)


def _warnings(asked: dict[str, list[str]]) -> Iterable[str]:
    """Take out of `asked` what is no attribute."""
    for name in _ANSWERED_ELSEWHERE:
        asked.pop(name, None)
    for name, instead in _UNSUPPORTED.items():
        values = asked.pop(name, ["false"])
        if values[-1] not in ("true", "false"):
            raise Problem(_BAD_REQUEST, f"{name} must be true or false.")
        if values[-1] == "true":
            yield f"The {name} parameter is not supported. {instead}"


def _one(name: str, values: list[str]) -> str:
    if len(values) > 1:
        raise Problem(_BAD_REQUEST, f"{name} is asked twice: give several values as a list.")
    if not _UNPRINTABLE.isdisjoint(values[0]):
        raise Problem(_BAD_REQUEST, f"{name} has a control character in its value.")
    return values[0]


def _check_searchable(level: str, path: _Path) -> None:
    tag = path[0]
    if tag in supported(level):
        return
    private = (tag >> 16) & 1
    if level != "IMAGE" or private or tag >> 16 < 8:
        told = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
        raise Problem(_BAD_REQUEST, f"{told} can't be searched for among {_NAMES[level]}.")


def _keys(matched: dict[_Path, str]) -> list[Element]:
    """Keys, those within one sequence in one item of it."""
    within: dict[int, dict[_Path, str]] = {}
    for (tag, *rest), value in matched.items():
        within.setdefault(tag, {})[tuple(rest)] = value
    return [_key(tag, inner) for tag, inner in within.items()]


def _key(tag: int, inner: dict[_Path, str]) -> Element:
    vr = vr_of(tag)
    if () not in inner:
        sequence = element(tag, "SQ")
        return Element(sequence.group, sequence.element, "SQ", items=[_keys(inner)])
    value = inner[()]
    if vr == "SQ" and (value or len(inner) > 1):
        told = f"{tag:08X}"
        raise Problem(_BAD_REQUEST, f"{told} is a sequence: ask for an attribute within it.")
    return element(tag, vr, value.replace(",", "\\") if vr in _LISTED else value)
