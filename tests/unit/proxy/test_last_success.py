import time
from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY

from dimse_ingestion.observability import metrics
from dimse_ingestion.proxy.last_success import OTHER, LastSuccess
from dimse_ingestion.settings.modalities import Modality

SUCCESS = "dimse_proxy_last_success_timestamp_seconds"
SILENT = "dimse_proxy_silent_after_timestamp_seconds"
NOW = 1_000_000.0


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(time, "time", lambda: NOW)
    yield
    metrics.proxy_last_success.clear()
    metrics.proxy_silent_after.clear()


def value(name: str, title: str) -> float | None:
    return REGISTRY.get_sample_value(name, {"calling_ae_title": title})


def test_a_modality_has_its_interval_from_the_start_on() -> None:
    LastSuccess([Modality("CT1", 60.0), Modality("MR1")])
    assert value(SILENT, "CT1") == NOW + 60
    assert value(SILENT, "MR1") is None
    assert value(SUCCESS, "CT1") is None


def test_a_success_sets_its_time_and_the_next_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    last_success = LastSuccess([Modality("CT1", 60.0)])
    monkeypatch.setattr(time, "time", lambda: NOW + 50)
    last_success.record("CT1")
    assert value(SUCCESS, "CT1") == NOW + 50
    assert value(SILENT, "CT1") == NOW + 110


def test_titles_that_are_not_configured_share_one_series() -> None:
    last_success = LastSuccess([Modality("CT1")])
    for title in ("XA1", "XA2", "patient^name"):
        last_success.record(title)
    (family,) = metrics.proxy_last_success.collect()
    assert [each.labels for each in family.samples] == [{"calling_ae_title": OTHER}]
    assert value(SUCCESS, OTHER) == NOW


def test_new_settings_keep_the_time_of_a_modality_that_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    last_success = LastSuccess([Modality("CT1", 60.0), Modality("MR1", 60.0)])
    last_success.record("MR1")
    monkeypatch.setattr(time, "time", lambda: NOW + 50)
    last_success.configure([Modality("CT1", 60.0), Modality("XA1", 60.0)])
    assert value(SILENT, "CT1") == NOW + 60
    assert value(SILENT, "XA1") == NOW + 110
    assert value(SILENT, "MR1") is None
    assert value(SUCCESS, "MR1") is None
