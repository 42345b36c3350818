import subprocess
import sys

import pytest
from prometheus_client import REGISTRY

from dimse_ingestion.observability import metrics
from dimse_ingestion.observability.series import ASSOCIATIONS, LEVELS, SERIES, start_series
from dimse_ingestion.queries.wire import PATHS
from dimse_ingestion.upper_layer.services import RejectReason


def test_a_service_begins_with_all_its_series_at_0() -> None:
    program = (
        "from prometheus_client import REGISTRY\n"
        "from dimse_ingestion.observability.series import start_series\n"
        "start_series('ingestion')\n"
        "labels = {'asked': 'put', 'outcome': 'refused'}\n"
        "print(REGISTRY.get_sample_value('dimse_storage_requests_total', labels))\n"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert shown.stdout == "0.0\n"


def test_what_was_counted_stays() -> None:
    metrics.catalogue_events.labels("refused").inc()
    labels = {"outcome": "refused"}
    before = REGISTRY.get_sample_value("dimse_catalogue_events_total", labels)
    start_series("catalogue")
    assert REGISTRY.get_sample_value("dimse_catalogue_events_total", labels) == before


@pytest.mark.parametrize("service", SERIES)
def test_every_label_has_its_values(service: str) -> None:
    for counter, labels in SERIES[service].items():
        assert len(labels) == len(counter._labelnames)


def test_values_are_those_of_the_packages_that_count() -> None:
    assert set(ASSOCIATIONS) == {"accepted", *(reason.name.lower() for reason in RejectReason)}
    assert set(LEVELS) == PATHS.keys()
