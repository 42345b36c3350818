"""Check that docs/operating.md lists every setting and metric, and none that does not exist."""

import re
from pathlib import Path

import pytest
from prometheus_client.metrics import MetricWrapperBase

from dimse_ingestion.observability import metrics
from dimse_ingestion.settings import (
    CatalogueSettings,
    DicomwebSettings,
    IngestionSettings,
    OperatorSettings,
    ProxySettings,
    ServiceSettings,
)
from dimse_ingestion.settings.unknown_variables import known_variables

SETTINGS_CLASSES: tuple[type[ServiceSettings], ...] = (
    ProxySettings,
    IngestionSettings,
    DicomwebSettings,
    CatalogueSettings,
    OperatorSettings,
)
PAGE = (Path(__file__).parents[3] / "docs" / "operating.md").read_text(encoding="utf-8")


def metric_names() -> set[str]:
    """Return the names in /metrics; a histogram's without `_bucket`."""
    match = [each for each in vars(metrics).values() if isinstance(each, MetricWrapperBase)]
    families = [family for each in match for family in each.collect()]
    return {each.name + ("_total" if each.type == "counter" else "") for each in families}


@pytest.mark.parametrize("settings_class", SETTINGS_CLASSES)
def test_every_setting_has_a_row(settings_class: type[ServiceSettings]) -> None:
    missing = [name for name in settings_class.names().values() if f"\n| `{name}` |" not in PAGE]
    assert not missing


def test_every_metric_has_a_row() -> None:
    assert metric_names()
    assert not [name for name in metric_names() if f"\n| `{name}` |" not in PAGE]


def test_no_setting_is_documented_that_is_gone() -> None:
    known = set(known_variables())
    assert set(re.findall(r"\b(?:DIMSE|DICOMWEB)_[A-Z_]+\b", PAGE)) <= known


def test_no_metric_is_documented_that_is_gone() -> None:
    rows = set(re.findall(r"^\| `(dimse_[a-z_]+)` \|", PAGE, re.MULTILINE))
    assert rows == metric_names()


def test_every_key_of_the_proxys_file_is_named() -> None:
    for name in ProxySettings.names():
        first, *others = name.split("_")
        assert f"| `{first}{''.join(map(str.capitalize, others))}` |" in PAGE
