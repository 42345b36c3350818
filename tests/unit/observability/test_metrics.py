from prometheus_client import REGISTRY

from dimse_ingestion.observability import metrics

ALLOWED_LABELS = {
    "outcome", "service", "status", "result", "reason", "operation", "kind",
    "direction", "scope", "level", "le", "quantile", "asked", "method",
}  # fmt: skip


def test_every_metric_is_ours_by_name_and_has_only_bounded_labels() -> None:
    assert metrics.proxy_operations is not None
    ours = [family for family in REGISTRY.collect() if family.name.startswith("dimse_")]
    assert ours
    for family in ours:
        assert family.documentation
        for sample in family.samples:
            assert set(sample.labels) <= ALLOWED_LABELS, (family.name, sample.labels)
