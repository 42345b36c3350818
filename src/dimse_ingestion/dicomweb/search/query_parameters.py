"""Searches parsed from a query string (PS3.18 section 8.3.4 and table 10.6.1-2).

Attribute IDs (8.3.1.1: a tag, a keyword, or a path of them) and their values become the same keys
as in a C-FIND; `dicom.query_levels` says which keys a level supports. This module sends no query.
"""

import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus

from dimse_ingestion.dicom import uids
from dimse_ingestion.dicom.data_dictionary import tag_of
from dimse_ingestion.dicom.elements import Element, element
from dimse_ingestion.dicom.query_levels import supported_keys
from dimse_ingestion.dicom.value_representations import vr_of
from dimse_ingestion.dicomweb.http.problems import Problem

_MAX_ATTRIBUTES = 200
_MAX_LISTED = 5  # names in a warning
_HANDLED_ELSEWHERE = frozenset({"accept", "charset"})
_UNSUPPORTED = {
    "fuzzymatching": "Only literal matching has been performed.",
    "emptyvaluematching": "An empty value has matched everything.",
    "multiplevaluematching": "Each value has been matched for itself.",
}
"""Parameter that is not supported, to what was done instead."""
_LIST_VRS = frozenset({"CS", "UI"})  # VRs whose values have no comma, so that it separates values
_UNPRINTABLE = frozenset(map(chr, range(32))) - set("\t\n\f\r")
_NAMES = {"STUDY": "studies", "SERIES": "series", "IMAGE": "instances"}
_Path = tuple[int, ...]
_HEXADECIMAL = frozenset("0123456789abcdefABCDEF")
_MAX_PRINTED = 64
_MAX_ATTRIBUTE_ID = 1024
_NAME_CHARACTERS = frozenset(string.ascii_letters + string.digits + "._-")


@dataclass(frozen=True, slots=True)
class Search:
    """One search; `warnings` name the parameters that were ignored.

    `after` is the UID of the study behind which a page of studies begins; `with_total` asks for the
    number of all matching studies.
    """

    keys: list[Element]
    included: frozenset[int] = frozenset()
    all_fields: bool = False
    limit: int | None = None
    offset: int = 0
    after: str = ""
    with_total: bool = False
    warnings: list[str] = field(default_factory=list)


def parse_search(level: str, parameters: Iterable[tuple[str, str]]) -> Search:
    """Return the search at a level that a query string's parameters describe.

    A parameter that names no attribute is ignored, with a warning (PS3.18 section 8.3). Raises
    Problem 400 with a sentence that names the attribute.
    """
    values: dict[str, list[str]] = {}
    for name, value in parameters:
        values.setdefault(name, []).append(value)
    included = [
        each.strip() for value in values.pop("includefield", []) for each in value.split(",")
    ]
    limit, offset = _number(values, "limit"), _number(values, "offset")
    after = _after(values) if level == "STUDY" else ""
    with_total = level == "STUDY" and _is_true(values, "total")
    warnings = list(_unsupported(values))
    _check_count(len(values) + len(included))
    conditions, ignored = _attributes(values)
    fields, ignored_fields = _fields(included)
    _check_levels(level, conditions)
    warnings += _ignored_warning("query parameter", ignored)
    warnings += _ignored_warning("includefield", ignored_fields)
    return Search(
        keys=_keys(conditions),
        included=fields,
        all_fields="all" in included,
        limit=limit,
        offset=offset or 0,
        after=after,
        with_total=with_total,
        warnings=warnings,
    )


def _number(values: dict[str, list[str]], name: str) -> int | None:
    texts = values.pop(name, None)
    if texts is None:
        return None
    if len(texts) > 1 or not texts[0].isascii() or not texts[0].isdecimal():
        raise Problem(HTTPStatus.BAD_REQUEST, f"{name} must be one number, 0 or more.")
    return min(int(texts[0].lstrip("0")[:18] or "0"), 2**53)


def _after(values: dict[str, list[str]]) -> str:
    """Return the study behind which a page begins, as in the Link of the page before it."""
    texts = values.pop("after", [""])
    if len(texts) > 1 or not (texts[0] == "" or uids.is_valid(texts[0])):
        raise Problem(HTTPStatus.BAD_REQUEST, "after must be one Study Instance UID.")
    return texts[0]


def _is_true(values: dict[str, list[str]], name: str) -> bool:
    value = values.pop(name, ["false"])[-1].lower()
    if value not in ("true", "false"):
        raise Problem(HTTPStatus.BAD_REQUEST, f"{name} must be true or false.")
    return value == "true"


def _unsupported(values: dict[str, list[str]]) -> Iterable[str]:
    """Remove the parameters that are not attributes from `values`; yield a warning for each."""
    for name in _HANDLED_ELSEWHERE:
        values.pop(name, None)
    for name, replacement in _UNSUPPORTED.items():
        if _is_true(values, name):
            yield f"The {name} parameter is not supported. {replacement}"


def _attributes(values: dict[str, list[str]]) -> tuple[dict[_Path, str], list[str]]:
    """Return the values to match by attribute, and the names that are not attributes."""
    conditions: dict[_Path, str] = {}
    ignored = []
    for name, texts in values.items():
        path = _attribute_path(name)
        if path is None:
            ignored.append(name)
            continue
        if path in conditions:
            raise _repeated(name)
        conditions[path] = _single_value(name, texts)
    return conditions, ignored


def _fields(included: Iterable[str]) -> tuple[frozenset[int], list[str]]:
    """Return the tags of `includefield`, and the names in it that are not attributes."""
    paths = {name: _attribute_path(name) for name in included if name and name != "all"}
    ignored = [name for name, path in paths.items() if path is None]
    return frozenset(path[0] for path in paths.values() if path is not None), ignored


def _ignored_warning(kind: str, names: Sequence[str]) -> Iterable[str]:
    """Yield the warning that names of this kind were ignored, if there are any."""
    if names:
        listed = ", ".join(dict.fromkeys(map(_printable, names[:_MAX_LISTED])))
        more = ", and others" if len(names) > _MAX_LISTED else ""
        yield f"Ignored {kind}, which is not an attribute of PS3.6: {listed}{more}."


def _check_count(count: int) -> None:
    if count > _MAX_ATTRIBUTES:
        raise Problem(
            HTTPStatus.BAD_REQUEST, f"The search names more than {_MAX_ATTRIBUTES} attributes."
        )


def _single_value(name: str, values: list[str]) -> str:
    if len(values) > 1:
        raise _repeated(name)
    if not _UNPRINTABLE.isdisjoint(values[0]):
        raise Problem(HTTPStatus.BAD_REQUEST, f"{name} has a control character in its value.")
    return values[0]


def _repeated(name: str) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, f"{name} occurs twice: give several values as a list.")


def _check_levels(level: str, paths: Iterable[_Path]) -> None:
    for path in paths:
        _check_searchable(level, path)


def _check_searchable(level: str, path: _Path) -> None:
    tag = path[0]
    if tag in supported_keys(level):
        return
    private = (tag >> 16) & 1
    if level != "IMAGE" or private or tag >> 16 < 8:
        tag_text = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
        raise Problem(
            HTTPStatus.BAD_REQUEST, f"{tag_text} can't be searched for among {_NAMES[level]}."
        )


def _keys(conditions: dict[_Path, str]) -> list[Element]:
    """Return the keys, with those of one sequence in one item of it."""
    within: dict[int, dict[_Path, str]] = {}
    for (tag, *rest), value in conditions.items():
        within.setdefault(tag, {})[tuple(rest)] = value
    return [_key(tag, inner) for tag, inner in within.items()]


def _key(tag: int, inner: dict[_Path, str]) -> Element:
    vr = vr_of(tag)
    if () not in inner:
        sequence = element(tag, "SQ")
        return Element(sequence.group, sequence.element, "SQ", items=[_keys(inner)])
    value = inner[()]
    if vr == "SQ" and (value or len(inner) > 1):
        tag_text = f"{tag:08X}"
        raise Problem(
            HTTPStatus.BAD_REQUEST, f"{tag_text} is a sequence: ask for an attribute within it."
        )
    return element(tag, vr, value.replace(",", "\\") if vr in _LIST_VRS else value)


def _attribute_path(text: str) -> tuple[int, ...] | None:
    """Return the tags of an attribute ID, or None where it names no attribute.

    All tags but the last are sequences' tags; raises Problem 400 where they are not.
    """
    if len(text) > _MAX_ATTRIBUTE_ID:
        return None
    path = [tag for part in text.split(".") if (tag := _tag(part)) is not None]
    if len(path) <= text.count("."):
        return None
    if any(vr_of(tag) != "SQ" for tag in path[:-1]):
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            f"{_printable(text)} must have sequences only before its last dot.",
        )
    return tuple(path)


def _printable(name: str) -> str:
    """Return a parameter's name for a response, a placeholder if it has other characters."""
    if len(name) <= _MAX_PRINTED and _NAME_CHARACTERS.issuperset(name) and name:
        return name
    return "(a name of other characters)"


@lru_cache(maxsize=4096)
def _tag(part: str) -> int | None:
    if len(part) == 8 and _HEXADECIMAL.issuperset(part):
        return int(part, 16)
    return tag_of(part) if part else None
