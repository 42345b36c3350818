"""The values of a release, computed from a resource's spec; no request is made here.

The chart's own schema and checks validate the values; here only values are refused that would be
set in two places.
"""

import re
from collections.abc import Mapping
from typing import Any

from dimse_ingestion.operator.kinds import OPEN_FIELD, Kind, Path

Values = dict[str, Any]

_COMPONENTS = ("ingestion", "dicomweb", "proxy")
_LONGEST_NAME = 46
_UNFIT_FOR_AN_ID = re.compile(r"[^A-Za-z0-9_-]")


class SpecMistake(Exception):
    """A spec that can't become a release; each of `sentences` says what is wrong, and the cure."""

    def __init__(self, *sentences: str) -> None:
        self.sentences = sentences
        super().__init__(" ".join(sentences))


def values_of(
    kind: Kind, name: str, spec: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> Values:
    """Return the values of the release called `name`; `defaults` are those of every release.

    Raises SpecMistake when `spec.values` sets what has a field of its own.
    """
    open_values = spec.get(OPEN_FIELD) or {}
    if duplicates := [*_duplicate_fields(kind, open_values)]:
        raise SpecMistake(*duplicates)
    values = merge(merge(_of_kind(kind, name), defaults or {}), open_values)
    for field, path in kind.fields.items():
        if field in spec:
            values = merge(values, _at(path, spec[field]))
    return _with_no_second_catalogue(values)


def merge(values: Mapping[str, Any], over: Mapping[str, Any]) -> Values:
    """Merge values as Helm does: maps key by key, everything else replaced."""
    result = dict(values)
    for key, content in over.items():
        current = result.get(key)
        both_maps = isinstance(current, Mapping) and isinstance(content, Mapping)
        result[key] = merge(current, content) if both_maps else content  # type: ignore[arg-type]
    return result


def _of_kind(kind: Kind, name: str) -> Values:
    """Return the values that make a release one of this kind.

    A resource of another kind may have the same name: each has a ServiceAccount of its own.
    """
    enabled = {component: {"enabled": component == kind.component} for component in _COMPONENTS}
    values: Values = {
        **enabled,
        "catalogue": {"enabled": _catalogue(kind)},
        "serviceAccount": {"name": f"{_shortened(name)}-{kind.component}"},
        "test": {"enabled": False},
    }
    if kind.component == "proxy":
        values["proxy"]["proxyId"] = _UNFIT_FOR_AN_ID.sub("-", name)[:64]
    return values


def _catalogue(kind: Kind) -> bool | str:
    """Enable a catalogue for a storage space that names none, as the chart does."""
    return {"catalogue": True, "proxy": False}.get(kind.component, "auto")


def _with_no_second_catalogue(values: Values) -> Values:
    """Disable the release's catalogue explicitly where another one is named.

    That one may have this release's name, when it is of a resource of another kind; the chart by
    itself would take the name for the release's own.
    """
    enabled = values["catalogue"]["enabled"]
    if values.get("dicomEventDrivenIngestionName") and enabled == "auto":
        return merge(values, {"catalogue": {"enabled": False}})
    return values


def _shortened(name: str) -> str:
    """Shorten a release's name as the chart does in the names of objects."""
    return name[:_LONGEST_NAME].removesuffix("-")


def _duplicate_fields(kind: Kind, open_values: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each value that has a field of its own, or that the kind decides."""
    by_field = [
        f"spec.values.{'.'.join(path)} has a field of its own: set it in spec.{field}."
        for field, path in kind.fields.items()
        if _has(open_values, path)
    ]
    if _has(open_values, (kind.component, "enabled")):
        by_field.append(
            f"spec.values.{kind.component}.enabled can't be set: a {kind.name} always runs it."
        )
    return by_field


def _has(values: Any, path: Path) -> bool:
    for key in path:
        if not isinstance(values, Mapping) or key not in values:
            return False
        values = values[key]
    return True


def _at(path: Path, content: Any) -> Values:
    for key in reversed(path):
        content = {key: content}
    return dict(content)
