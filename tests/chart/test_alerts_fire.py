"""Each alert is evaluated over what a service shows before and after the one event it is for."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness.chart.rendering import Rendering, rendered, shipped_values
from tests.chart.promql import Samples, evaluated

EVERY = 30.0
"""Seconds between two scrapes."""
PODS = {"namespace": "imaging", "pod": "radiology-{}-6f7c9d-x2x4z"}
EVENTS: dict[str, tuple[str, list[tuple[str, Mapping[str, str]]]]] = {
    "DimseBucketRefuses": (
        "ingestion",
        [
            ("dimse_storage_requests_total", {"asked": request, "outcome": "refused"})
            for request in ("head", "put", "get", "check")
        ],
    ),
    "DimseEventsRefused": ("ingestion", [("dimse_events_sent_total", {"outcome": "refused"})]),
    "DimseStoreFails": (
        "ingestion",
        [
            ("dimse_ingestion_failures_total", {"service": "store", "status": status})
            for status in ("A700", "A900", "C000", "0110", "0124")
        ],
    ),
    "DimseReplicasFull": ("ingestion", [("dimse_transport_refused_total", {"service": "store"})]),
    "DimseCatalogueRefusesEvents": (
        "catalogue",
        [("dimse_catalogue_events_total", {"outcome": "refused"})],
    ),
    "DimseObjectsWithoutEntry": (
        "catalogue",
        [("dimse_catalogue_compared_total", {"outcome": "missing"})],
    ),
    "DimseCatalogueQueriesFail": (
        "catalogue",
        [
            ("dimse_catalogue_queries_total", {"level": level, "outcome": "failed"})
            for level in ("PATIENT", "STUDY", "SERIES", "IMAGE")
        ],
    ),
    "DimseDicomwebStoreFails": (
        "dicomweb",
        [
            ("dimse_dicomweb_store_failures_total", {"status": status})
            for status in ("A700", "A900", "C000", "C122", "0110", "0124")
        ],
    ),
    "DimseDicomwebRequestsFail": (
        "dicomweb",
        [
            ("dimse_dicomweb_requests_total", {"method": method, "status": status})
            for method in ("GET", "HEAD", "POST", "OPTIONS", "other")
            for status in ("500", "502", "503")
        ],
    ),
    "DimseProxyStoreFails": (
        "proxy",
        [
            ("dimse_proxy_operations_total", {"service": "store", "status": status, "space": ""})
            for status in ("A700", "A900", "C000", "0110", "0117", "0122", "0124")
        ],
    ),
    "DimseProxyAssociationsRejected": (
        "proxy",
        [
            ("dimse_proxy_associations_asked_total", {"outcome": outcome, "space": ""})
            for outcome in ("temporary_congestion", "called_ae_title_not_recognized")
        ],
    ),
    "DimseProxyWorkerEnds": ("proxy", [("dimse_worker_restarts_total", {})]),
    "DimseIngestionWorkerEnds": ("ingestion", [("dimse_worker_restarts_total", {})]),
    "DimseCommitmentRefused": (
        "proxy",
        [
            ("dimse_proxy_operations_total", {"service": "commit", "status": status, "space": ""})
            for status in ("0110", "0213")
        ],
    ),
    "DimseCommitmentFails": (
        "proxy",
        [
            ("dimse_commitment_references_total", {"reason": reason, "space": ""})
            for reason in ("0110", "0112", "0119", "0122", "0131", "0213")
        ],
    ),
    "DimseCommitmentReportsGivenUp": (
        "proxy",
        [("dimse_commitment_reports_total", {"outcome": "given_up", "space": ""})],
    ),
    "DimseCommitmentJournalDamaged": ("proxy", [("dimse_commitment_damaged_total", {"space": ""})]),
    "DimseProxySpoolFull": ("proxy", [("dimse_spool_refused_total", {"space": ""})]),
    "DimseOutboxNotForwarded": (
        "proxy",
        [("dimse_outbox_failures_total", {"outcome": each}) for each in ("denied", "failed")],
    ),
    "DimseOutboxDeadLetters": ("proxy", [("dimse_outbox_dead_letters", {})]),
    "DimseProxyUnusedFolders": ("proxy", [("dimse_proxy_unused_folders", {"kind": "spool"})]),
    "DimseOutboxDamaged": ("proxy", [("dimse_outbox_quarantined", {})]),
    "DimseProxyAuditLost": ("proxy", [("dimse_audit_lost_total", {})]),
    "DimseProxyAuditDamaged": ("proxy", [("dimse_audit_quarantined", {})]),
    "DimseDicomwebAuditLost": ("dicomweb", [("dimse_audit_lost_total", {})]),
    "DimseDicomwebAuditDamaged": ("dicomweb", [("dimse_audit_quarantined", {})]),
}
OF_STATES = {
    "DimseIngestionNotScraped",
    *(f"Dimse{part}NotReady" for part in ("Ingestion", "Catalogue", "Dicomweb", "Proxy")),
    "DimseStoreSlow",
    "DimseCommitmentWaits",
    "DimseCommitmentReportsWait",
    "DimseProxyModalitySilent",
    "DimseProxySpaceNotReady",
    "DimseOutboxOld",
    "DimseOutboxFilling",
    "DimseProxyAuditWaits",
    "DimseDicomwebAuditWaits",
    "DimseProxyReloadFails",
}
"""Alerts on what is there all the time, or on many events."""


@pytest.fixture(scope="module")
def rules() -> dict[str, dict[str, Any]]:
    """Return every alert of a release with every component."""
    everything = rendered(shipped_values("ci/everything-on-values.yaml"))
    return {rule["alert"]: rule for rule in _rules(everything)}


def _rules(rendering: Rendering) -> Iterator[dict[str, Any]]:
    for manifest in rendering.of_kind("PrometheusRule"):
        for group in manifest["spec"]["groups"]:
            yield from group["rules"]


@cache
def scraped(service: str) -> tuple[tuple[str, tuple[tuple[str, str], ...], float], ...]:
    """Return /metrics of a service that has just started."""
    program = (
        "from prometheus_client import generate_latest\n"
        "from dimse_ingestion.observability.series import start_series\n"
        f"start_series({service!r})\n"
        "print(generate_latest().decode())\n"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return tuple(
        (sample.name, tuple(sorted(sample.labels.items())), sample.value)
        for family in text_string_to_metric_families(shown.stdout)
        for sample in family.samples
    )


def series(service: str, event: tuple[str, Mapping[str, str]] | None) -> list[Samples]:
    """Return ten scrapes of a service; before the last three, one event is counted."""
    target = {name: value.format(service) for name, value in PODS.items()}
    wanted = (event[0], tuple(sorted(event[1].items()))) if event else None
    times = [EVERY * number for number in range(1, 11)]
    match = [
        Samples(
            name,
            {**dict(labels), **target},
            tuple((when, value + (when > times[6] and (name, labels) == wanted)) for when in times),
        )
        for name, labels, value in scraped(service)
    ]
    if wanted and wanted not in {(name, labels) for name, labels, _ in scraped(service)}:
        born = tuple((when, 1.0) for when in times[7:])
        match.append(Samples(wanted[0], {**dict(wanted[1]), **target}, born))
    return match


@pytest.mark.parametrize("alert", EVENTS)
def test_the_first_event_of_each_series_fires_its_alert(
    alert: str, rules: dict[str, dict[str, Any]]
) -> None:
    service, events = EVENTS[alert]
    expression = rules[alert]["expr"]
    assert evaluated(expression, series(service, None), 10 * EVERY) == {}
    for event in events:
        assert evaluated(expression, series(service, event), 10 * EVERY), event


def test_every_alert_is_tested(rules: dict[str, dict[str, Any]]) -> None:
    assert set(rules) <= EVENTS.keys() | OF_STATES
    assert EVENTS.keys() <= set(rules)


def test_what_is_fine_fires_nothing(rules: dict[str, dict[str, Any]]) -> None:
    fine = [
        (
            "proxy",
            ("dimse_proxy_operations_total", {"service": "store", "status": "0000", "space": ""}),
        ),
        ("proxy", ("dimse_proxy_associations_asked_total", {"outcome": "accepted", "space": ""})),
        ("ingestion", ("dimse_storage_requests_total", {"asked": "put", "outcome": "done"})),
        ("catalogue", ("dimse_catalogue_events_total", {"outcome": "new"})),
        ("catalogue", ("dimse_catalogue_compared_total", {"outcome": "known"})),
        ("proxy", ("dimse_proxy_operations_total", {"service": "commit", "status": "0000"})),
        ("proxy", ("dimse_commitment_references_total", {"reason": "0000", "space": ""})),
        ("proxy", ("dimse_commitment_reports_total", {"outcome": "failed", "space": ""})),
    ]
    for service, event in fine:
        for alert in EVENTS:
            assert not evaluated(rules[alert]["expr"], series(service, event), 10 * EVERY)


def test_a_pod_that_is_not_ready_fires_its_alert(rules: dict[str, dict[str, Any]]) -> None:
    for service in ("ingestion", "catalogue", "dicomweb"):
        target = {name: value.format(service) for name, value in PODS.items()}
        state = {"condition": "true", **target}
        for value, fires in ((0.0, True), (1.0, False)):
            pods = [Samples("kube_pod_status_ready", state, ((1.0, value),))]
            expression = rules[f"Dimse{service.capitalize()}NotReady"]["expr"]
            assert bool(evaluated(expression, pods, 2.0)) is fires


def test_no_replica_that_is_scraped_fires_its_alert(rules: dict[str, dict[str, Any]]) -> None:
    target = {name: value.format("ingestion") for name, value in PODS.items()}
    expression = rules["DimseIngestionNotScraped"]["expr"]
    assert evaluated(expression, [], 2.0)
    assert evaluated(expression, [Samples("up", target, ((1.0, 0.0),))], 2.0)
    assert not evaluated(expression, [Samples("up", target, ((1.0, 1.0),))], 2.0)


@pytest.mark.parametrize(("bucket", "fires"), [("25.0", False), ("50.0", True)])
def test_slow_stores_fire_their_alert(
    bucket: str, fires: bool, rules: dict[str, dict[str, Any]]
) -> None:
    target = {name: value.format("ingestion") for name, value in PODS.items()}
    bounds = ("1.0", "25.0", "50.0", "+Inf")
    counted = [
        Samples(
            "dimse_ingestion_store_seconds_bucket",
            {"le": bound, **target},
            ((1.0, 0.0), (31.0, float(bounds.index(bound) >= bounds.index(bucket)))),
        )
        for bound in bounds
    ]
    assert bool(evaluated(rules["DimseStoreSlow"]["expr"], counted, 60.0)) is fires


@pytest.mark.parametrize(
    ("alert", "state"),
    [("DimseCommitmentWaits", "checking"), ("DimseCommitmentReportsWait", "reporting")],
)
@pytest.mark.parametrize(("seconds", "fires"), [(0.0, False), (3599.0, False), (3601.0, True)])
def test_old_transactions_fire_their_alert(
    alert: str, state: str, seconds: float, *, fires: bool, rules: dict[str, dict[str, Any]]
) -> None:
    target = {name: value.format("proxy") for name, value in PODS.items()}
    oldest = [
        Samples(
            "dimse_commitment_oldest_seconds",
            {"state": each, "space": "", **target},
            ((1.0, value),),
        )
        for each, value in {"checking": 0.0, "reporting": 0.0, state: seconds}.items()
    ]
    assert bool(evaluated(rules[alert]["expr"], oldest, 2.0)) is fires


@pytest.mark.parametrize(("after", "fires"), [(59.0, True), (61.0, False)])
def test_a_silent_modality_fires_its_alert_and_is_named(
    after: float, fires: bool, rules: dict[str, dict[str, Any]]
) -> None:
    name = "dimse_proxy_silent_after_timestamp_seconds"
    target = {name: value.format("proxy") for name, value in PODS.items()}
    titles = {"CT1": after, "MR1": 3600.0}
    shown = [
        Samples(name, {"calling_ae_title": title, **target}, ((30.0, value), (60.0, value)))
        for title, value in titles.items()
    ]
    fired = evaluated(rules["DimseProxyModalitySilent"]["expr"], shown, 60.0)
    assert fired == ({frozenset({("calling_ae_title", "CT1")}): after} if fires else {})


def test_a_modality_that_sent_to_another_replica_is_not_silent(
    rules: dict[str, dict[str, Any]],
) -> None:
    name = "dimse_proxy_silent_after_timestamp_seconds"
    target = {name: value.format("proxy") for name, value in PODS.items()}
    pods = {target["pod"]: 10.0, target["pod"].replace("x2x4z", "abcde"): 90.0}
    shown = [
        Samples(name, {"calling_ae_title": "CT1", **target, "pod": pod}, ((60.0, value),))
        for pod, value in pods.items()
    ]
    assert not evaluated(rules["DimseProxyModalitySilent"]["expr"], shown, 60.0)


def test_a_space_that_is_not_ready_fires_its_alert_and_is_named(
    rules: dict[str, dict[str, Any]],
) -> None:
    target = {name: value.format("proxy") for name, value in PODS.items()}
    shown = [
        Samples("dimse_proxy_space_ready", {"space": space, **target}, ((1.0, value),))
        for space, value in (("RADIOLOGY", 0.0), ("CARDIOLOGY", 1.0))
    ]
    (fired,) = evaluated(rules["DimseProxySpaceNotReady"]["expr"], shown, 2.0)
    assert ("space", "RADIOLOGY") in fired


@pytest.mark.parametrize(("value", "fires"), [(0.0, True), (1.0, False)])
def test_a_failed_reload_fires_its_alert(
    value: float, fires: bool, rules: dict[str, dict[str, Any]]
) -> None:
    target = {name: value.format("proxy") for name, value in PODS.items()}
    shown = [Samples("dimse_proxy_last_reload_successful", target, ((1.0, value),))]
    assert bool(evaluated(rules["DimseProxyReloadFails"]["expr"], shown, 2.0)) is fires


def test_a_series_that_is_born_counting_has_no_increase() -> None:
    born = [Samples("failures_total", {}, ((60.0, 1.0), (90.0, 1.0)))]
    assert evaluated("increase(failures_total[10m]) > 0", born, 90.0) == {}


@pytest.mark.parametrize(
    ("alert", "values", "fires"),
    [
        ("DimseOutboxOld", {"dimse_outbox_oldest_seconds": 3500.0}, False),
        ("DimseOutboxOld", {"dimse_outbox_oldest_seconds": 3700.0}, True),
        ("DimseOutboxFilling", {"dimse_outbox_used_ratio": 0.4}, False),
        ("DimseOutboxFilling", {"dimse_outbox_used_ratio": 0.6}, True),
    ],
)
def test_an_outbox_that_is_old_or_filling_fires_its_alert(
    alert: str, values: dict[str, float], fires: bool, rules: dict[str, dict[str, Any]]
) -> None:
    target = {name: value.format("proxy") for name, value in PODS.items()}
    states = [Samples(name, target, ((1.0, value),)) for name, value in values.items()]
    assert bool(evaluated(rules[alert]["expr"], states, 2.0)) is fires
