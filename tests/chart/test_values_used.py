"""Each value does something, and each that a template reads exists."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft7Validator

from harness.chart import CHART
from harness.chart.changing import merged, value_in, with_value
from harness.chart.rendering import Refused, Rendering, Values, rendered, shipped_values
from harness.chart.schema import value_schema
from harness.chart.values_file import Value, values_of

VALUES = values_of(CHART / "values.yaml")
# what a value may become to see what it changes; the first that its schema takes is used
OTHERS: tuple[Any, ...] = (
    "other",
    "http://other.example.org",
    "/other",
    "77Gi",
    "77s",
    True,
    False,
    3,
    30077,
    {"other": "other"},
    {"DIMSE_QUERY_TIMEOUT": 7},
    {"maximumMatches": 7},
    ["ReadWriteMany"],
    ["other"],
    [{"name": "other"}],
    [{"name": "other", "mountPath": "/other"}],
    [{"maxSkew": 2, "topologyKey": "other", "whenUnsatisfiable": "DoNotSchedule"}],
    [{"type": "Resource"}],
    [{"other": "other"}],
    [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other"}}],
)
SPECIAL = {
    "natsUrl": "other.example.org:4222",
    "audit.repository": "tls://other.example.org",
    "dicomEventDrivenIngestionName": "core",
    "catalogue.enabled": False,
    "dicomweb.enabled": False,
    "ingestion.podDisruptionBudget.minAvailable": 1,
    "catalogue.podDisruptionBudget.minAvailable": 1,
    "dicomweb.podDisruptionBudget.minAvailable": 1,
    "prometheusRule.disabled": ["DimseStoreSlow"],
    "bucketFolder.volume": {"emptyDir": {}},
    "proxy.peers": [{"aeTitle": "OTHER", "may": ["get"]}],
    "proxy.retrieve": {"enabled": True},
    "proxy.spoolVolume": {"emptyDir": {"sizeLimit": "77Gi"}},
    "dicomweb.spoolVolume": {"emptyDir": {"sizeLimit": "77Gi"}},
}
MORE: Values = {
    "proxy": {"enabled": True, "proxyId": "ward7", "service": {"type": "NodePort"}},
    "dicomweb": {"enabled": True, "service": {"type": "NodePort"}},
    "networkPolicy": {"egress": {"enabled": True}},
    "serviceAccount": {"create": False},
}
BASES = (
    shipped_values("ci/everything-on-values.yaml"),
    shipped_values("ci/minimal-values.yaml"),
    shipped_values("ci/folder-values.yaml"),
    merged(shipped_values("ci/minimal-values.yaml"), MORE),
)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.name)
def test_every_value_changes_what_is_rendered(value: Value) -> None:
    assert any(_changed(value, base) for base in BASES)


def test_every_value_that_a_template_reads_exists() -> None:
    known = {value.path[:depth] for value in VALUES for depth in range(1, len(value.path) + 1)}
    missing = [
        f"{file}: {'.'.join(path)}" for file, path in _read_by_templates() if path not in known
    ]
    assert not missing


def _other(value: Value, base: Values) -> Any:
    """Return another value than the one in use that the schema takes."""
    if value.name in SPECIAL:
        return SPECIAL[value.name]
    schema = value_schema(value)
    current = value_in(base, value.path, value.default)
    takes = Draft7Validator(schema).is_valid
    candidates = (*schema.get("enum", ()), *OTHERS)
    return next(each for each in candidates if takes(each) and each != current)


def _changed(value: Value, base: Values) -> bool:
    """Return whether another value shows in what becomes of the base."""
    return _seen(with_value(base, value.path, _other(value, base))) != _seen(base)


def _seen(values: Values) -> object:
    """Return everything that a user sees of a rendering, refused ones included."""
    try:
        rendering: Rendering = rendered(values)
    except Refused as refused:
        return refused.sentences
    return rendering.manifests, rendering.notes


def _read_by_templates() -> Iterator[tuple[str, tuple[str, ...]]]:
    for file in sorted((CHART / "templates").rglob("*")):
        if not file.is_file():
            continue
        text = re.sub(r"\{\{-?\s*/\*.*?\*/\s*-?\}\}", "", file.read_text(), flags=re.DOTALL)
        aliases = dict(re.findall(r"\$(\w+) :?= [.$\w]*Values((?:\.\w+)*) *-?\}\}", text))
        aliases["Values"] = ""
        for alias, path in re.findall(r"[.$](\w+)((?:\.\w+)+)", text):
            if alias in aliases and path:
                yield file.name, tuple(f"{aliases[alias]}{path}".strip(".").split("."))
