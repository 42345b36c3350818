"""values.schema.json from values.yaml: JSON Schema draft 7, which Helm checks before it renders.

A map that only groups values accepts no other key, so that a misspelt one is an error. A map that
is a value is a Kubernetes object, or its fragment defines its keys.
"""

import json
from collections.abc import Iterable
from typing import Any

from harness.chart.values_file import Value

_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array"}


def schema_text(values: Iterable[Value], chart: str) -> str:
    """Return the file's content."""
    return json.dumps(schema_of(values, chart), indent=2, ensure_ascii=False) + "\n"


def schema_of(values: Iterable[Value], chart: str = "dimse-ingestion") -> dict[str, Any]:
    """Return the schema of a whole values file."""
    root = _group()
    for value in values:
        _put(root, value)
    # Helm itself passes these to a subchart
    root["properties"]["global"] = {
        "type": "object",
        "description": "Values that a parent chart shares; none is used here.",
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": f"Values of the chart {chart}",
    } | root


def value_schema(value: Value) -> dict[str, Any]:
    """Return the schema of one value: what its default shows, its fragment merged over it."""
    shown: dict[str, Any] = {"description": value.sentence, "default": value.default}
    if value.default is not None and not {"enum", "type"} & value.fragment.keys():
        shown["type"] = _TYPES.get(type(value.default), "object")
    return shown | value.fragment


def _group() -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": {}}


def _put(root: dict[str, Any], value: Value) -> None:
    group = root
    for key in value.path[:-1]:
        group = group["properties"].setdefault(key, _group())
    group["properties"][value.path[-1]] = value_schema(value)
