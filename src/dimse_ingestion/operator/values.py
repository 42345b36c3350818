"""A resource's spec becomes the values of the one chart, its component enabled: pure.

The chart's own schema and sentences say what is wrong with the values themselves; here is refused
only what would be said in two places.
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
    """The values of the release called `name`; `defaults` are those of every release.

    Raises SpecMistake when `spec.values` says what has a field of its own.
    """
    more = spec.get(OPEN_FIELD) or {}
    if twice := [*_said_twice(kind, more)]:
        raise SpecMistake(*twice)
    values = merged(merged(_of_kind(kind, name), defaults or {}), more)
    for field, path in kind.fields.items():
        if field in spec:
            values = merged(values, _at(path, spec[field]))
    return _with_no_second_catalogue(values)


def merged(values: Mapping[str, Any], over: Mapping[str, Any]) -> Values:
    """Values with others over them, as Helm does it: maps key by key, all else replaced."""
    result = dict(values)
    for key, content in over.items():
        below = result.get(key)
        both_maps = isinstance(below, Mapping) and isinstance(content, Mapping)
        result[key] = merged(below, content) if both_maps else content  # type: ignore[arg-type]
    return result


def _of_kind(kind: Kind, name: str) -> Values:
    """What makes a release one of this kind.

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
    """A storage space without a catalogue to report to runs its own, as the chart has it."""
    return {"catalogue": True, "proxy": False}.get(kind.component, "auto")


def _with_no_second_catalogue(values: Values) -> Values:
    """Where another catalogue is named, the release has none, in so many words.

    That one may have this release's name: it is of a resource of another kind. The chart, left to
    itself, takes the name for the release's own.
    """
    enabled = values["catalogue"]["enabled"]
    if values.get("dicomEventDrivenIngestionName") and enabled == "auto":
        return merged(values, {"catalogue": {"enabled": False}})
    return values


def _shortened(name: str) -> str:
    """A release's name as the chart shortens it in the names of objects."""
    return name[:_LONGEST_NAME].removesuffix("-")


def _said_twice(kind: Kind, more: Mapping[str, Any]) -> list[str]:
    """A sentence for each value that has a field of its own, or that the kind decides."""
    by_field = [
        f"spec.values.{'.'.join(path)} has a field of its own: say it in spec.{field}."
        for field, path in kind.fields.items()
        if _has(more, path)
    ]
    if _has(more, (kind.component, "enabled")):
        by_field.append(
            f"spec.values.{kind.component}.enabled is not to be said: a {kind.name} runs it always."
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
