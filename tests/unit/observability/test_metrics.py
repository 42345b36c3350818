import pytest
from prometheus_client import REGISTRY
from prometheus_client.samples import Sample

from dimse_ingestion.observability import metrics

ALLOWED_LABELS = {
    "outcome", "service", "status", "result", "reason", "operation", "kind",
    "direction", "scope", "level", "le", "quantile", "asked", "method",
    "space", "calling_ae_title", "state",
}  # fmt: skip


def test_every_metric_is_ours_by_name_and_has_only_bounded_labels() -> None:
    assert metrics.proxy_operations is not None
    ours = [family for family in REGISTRY.collect() if family.name.startswith("dimse_")]
    assert ours
    for family in ours:
        assert family.documentation
        for sample in family.samples:
            assert set(sample.labels) <= ALLOWED_LABELS, (family.name, sample.labels)


def test_equal_label_values_are_one_series() -> None:
    counter = metrics.Counter("dimse_test_total", "Of this test", ["status"], registry=None)
    counter.labels("0000").inc()
    assert counter.labels("0000") is counter.labels("0000")
    counter.labels("A700").inc()
    assert [sample.value for sample in _values(counter)] == [1, 1]


def test_a_wrong_number_of_labels_is_an_error() -> None:
    counter = metrics.Counter("dimse_test_total", "Of this test", ["status"], registry=None)
    with pytest.raises(ValueError, match="label count"):
        counter.labels("0000", "again")


def _values(counter: metrics.Counter) -> list[Sample]:
    (family,) = counter.collect()
    return [each for each in family.samples if each.name.endswith("_total")]
