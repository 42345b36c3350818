"""Each service, started as a user starts it, begins with every series of its counters."""

from itertools import product
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dimse_ingestion.observability.series import SERIES, SERIES_OF_SPACES
from tests.integration.whole.conftest import System


@pytest.mark.parametrize("which", ["proxy", "ingestion", "catalogue"])
def test_a_service_that_has_counted_nothing_shows_all_its_series(
    shared: System, which: str
) -> None:
    service = next(each for each in shared.space.services if each.arguments == [which])
    with urlopen(f"http://127.0.0.1:{service.http_port}/metrics", timeout=30) as answer:
        page = answer.read().decode()
    shown: dict[str, set[tuple[str, ...]]] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name.endswith("_total"):
                shown.setdefault(sample.name, set()).add(tuple(sorted(sample.labels.values())))
    for counter, labels in SERIES[which].items():
        missing = {tuple(sorted(each)) for each in product(*labels)} - shown[
            f"{counter._name}_total"
        ]
        assert not missing, counter._name
    for counter in SERIES_OF_SPACES.get(which, {}):
        assert shown[f"{counter._name}_total"], counter._name
