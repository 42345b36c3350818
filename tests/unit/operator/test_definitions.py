"""The definitions in the operator's chart have the fields that become values, and no others."""

import json
from typing import Any

import pytest

from dimse_ingestion.operator.kinds import KINDS, OPEN_FIELD, Kind
from harness.chart import OPERATOR_CHART
from harness.chart.rendering import rendered

FIELDS = json.loads((OPERATOR_CHART / "files" / "fields.json").read_text(encoding="utf-8"))
DEFINITIONS = {
    each["spec"]["names"]["plural"]: each["spec"]
    for each in rendered(chart=OPERATOR_CHART).of_kind("CustomResourceDefinition")
}
ADDED_RULES = ("minLength", "maxLength", "x-kubernetes-validations")


def properties(kind: Kind) -> dict[str, Any]:
    (version,) = DEFINITIONS[kind.plural]["versions"]
    assert f"{DEFINITIONS[kind.plural]['group']}/{version['name']}" == kind.api_version
    spec: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    match: dict[str, Any] = spec["properties"]
    return match


def test_there_is_one_of_each_kind() -> None:
    names = {plural: spec["names"]["kind"] for plural, spec in DEFINITIONS.items()}
    assert names == {kind.plural: kind.name for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_fields_are_those_that_become_values(kind: Kind) -> None:
    assert properties(kind).keys() == kind.fields.keys() | {OPEN_FIELD}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_field_is_described_as_the_value_that_it_becomes(kind: Kind) -> None:
    for field, path in kind.fields.items():
        value = FIELDS[".".join(path)]
        schema = properties(kind)[field]
        plain = {name: message for name, message in schema.items() if name not in ADDED_RULES}
        assert plain == {
            name: message for name, message in value.items() if name not in ADDED_RULES
        }
