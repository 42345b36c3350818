import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

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


OF_A_WORKER = """
from pathlib import Path
import sys
from dimse_ingestion.proxy.last_success import LastSuccess
from dimse_ingestion.settings.modalities import Modality
from dimse_ingestion.workers.metrics_of_all import MetricsOfAll

last_success = LastSuccess([Modality("CT1", 60.0), Modality("MR1", 60.0), Modality("XA1", 60.0)])
last_success.configure([Modality("MR1"), Modality("XA1", 60.0)])
last_success.configure([Modality("MR1"), Modality("XA1", 60.0), Modality("US1", 60.0)])
sys.stdout.buffer.write(MetricsOfAll(Path(sys.argv[1]), lambda: []).generate())
"""


def test_a_modality_that_is_removed_raises_no_alert_of_a_worker(tmp_path: Path) -> None:
    """The files of several workers keep the series of a removed label."""
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    command = [sys.executable, "-c", OF_A_WORKER, str(tmp_path)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    families = {each.name: each for each in text_string_to_metric_families(ended.stdout)}
    limits = {each.labels["calling_ae_title"]: each.value for each in families[SILENT].samples}
    at_the_end = 4e9  # Unix time; only those that are expected are silent then
    silent = {title for title, limit in limits.items() if limit < at_the_end}
    assert silent == {"XA1", "US1"}
