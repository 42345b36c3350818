"""Check that each series in an alert is one a service exports and a ServiceMonitor scrapes."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from harness.chart.rendering import COMPONENT, Rendering, rendered, shipped_values

METRICS = Path(__file__).parents[2] / "src/dimse_ingestion/observability/metrics.py"
OTHERS = {"up": set[str](), "kube_pod_status_ready": {"condition"}}
OF_TARGETS = {"namespace", "pod"}  # labels that Prometheus' operator, and kube-state-metrics, give
COMPOSED = {"C-STORE failed.", "N-ACTION failed."}  # in proxy/request_log.py, of the service's name
SUFFIXES = {"Counter": ("",), "Gauge": ("",), "Histogram": ("_bucket", "_count", "_sum")}


@dataclass(frozen=True)
class Series:
    """What a part of an expression selects: a name, and the labels that must match."""

    name: str
    labels: frozenset[str]


@pytest.fixture(scope="module")
def everything() -> Rendering:
    """Return a release with every component and every alert."""
    return rendered(shipped_values("ci/everything-on-values.yaml"))


def test_alerts_name_metrics_and_labels_that_exist(everything: Rendering) -> None:
    written = _written() | OTHERS
    for rule in _rules(everything):
        for series in _series(promql_parser.parse(rule["expr"])):
            assert series.name in written, rule["alert"]
            assert series.labels - OF_TARGETS <= written[series.name], rule["alert"]


def test_alerts_select_their_own_release(everything: Rendering) -> None:
    for rule in _rules(everything):
        for series in _series(promql_parser.parse(rule["expr"])):
            assert series.labels >= OF_TARGETS, rule["alert"]
        assert 'namespace="imaging"' in rule["expr"]


def test_pods_of_an_alert_are_those_of_a_deployment(everything: Rendering) -> None:
    deployments = {each["metadata"]["name"] for each in everything.of_kind("Deployment")}
    for rule in _rules(everything):
        (pattern,) = set(re.findall(r'pod=~"([^"]+)"', rule["expr"]))
        matched = [name for name in deployments if re.fullmatch(pattern, f"{name}-6f7c9d-x2x4z")]
        assert len(matched) == 1, rule["alert"]


def test_every_component_has_an_alert(everything: Rendering) -> None:
    expressions = [rule["expr"] for rule in _rules(everything)]
    for deployment in everything.of_kind("Deployment"):
        own = [each for each in expressions if f"{deployment['metadata']['name']}-[" in each]
        assert len(own) > 1, deployment["metadata"]["name"]


def test_every_component_is_scraped_once(everything: Rendering) -> None:
    (monitor,) = everything.of_kind("ServiceMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"]
    port = monitor["spec"]["endpoints"][0]["port"]
    scraped = [
        service["metadata"]["labels"][COMPONENT]
        for service in everything.of_kind("Service")
        if wanted.items() <= service["metadata"]["labels"].items()
        and port in {each["name"] for each in service["spec"]["ports"]}
    ]
    assert sorted(scraped) == sorted(pod.component for pod in everything.pods() if pod.runs_on)


def test_metrics_are_not_published_with_a_service(everything: Rendering) -> None:
    for service in everything.of_kind("Service"):
        ports = {port["name"] for port in service["spec"]["ports"]}
        assert "http" not in ports or service["spec"]["type"] == "ClusterIP"


def test_alerts_say_what_and_what_to_do(everything: Rendering) -> None:
    for rule in _rules(everything):
        assert rule["annotations"]["summary"].endswith(" (release radiology in imaging)")
        assert rule["annotations"]["description"].endswith((".", "?"))
        assert rule["labels"]["severity"] in {"critical", "warning"}


def test_log_lines_that_are_named_are_written(everything: Rendering) -> None:
    sources = "".join(file.read_text() for file in METRICS.parents[1].rglob("*.py"))
    for rule in _rules(everything):
        for line in re.findall(r'log line "([^"]+)"', rule["annotations"]["description"]):
            assert f'"{line}"' in sources or line in COMPOSED, rule["alert"]


def test_alerts_may_be_left_out_and_added() -> None:
    added = {"alert": "Mine", "expr": "vector(1)"}
    values = shipped_values("ci/everything-on-values.yaml")
    values["prometheusRule"] |= {"disabled": ["DimseStoreSlow"], "extraRules": [added]}
    rules = list(_rules(rendered(values)))
    assert "DimseStoreSlow" not in {rule["alert"] for rule in rules}
    assert rules[-1] == added


def test_nothing_is_missed_that_nobody_scrapes() -> None:
    values = shipped_values("ci/minimal-values.yaml") | {"prometheusRule": {"enabled": True}}
    assert "DimseIngestionNotScraped" not in {rule["alert"] for rule in _rules(rendered(values))}
    values |= {"serviceMonitor": {"enabled": True}, "networkPolicy": {"enabled": False}}
    assert "DimseIngestionNotScraped" in {rule["alert"] for rule in _rules(rendered(values))}


def test_no_alert_for_what_a_release_does_not_run() -> None:
    values = shipped_values("ci/core-only-values.yaml") | {"prometheusRule": {"enabled": True}}
    assert {rule["alert"] for rule in _rules(rendered(values))} == {
        "DimseCatalogueNotReady",
        "DimseCatalogueRefusesEvents",
        "DimseCatalogueQueriesFail",
        "DimseObjectsWithoutEntry",
    }


def _rules(rendering: Rendering) -> Iterator[dict[str, Any]]:
    for manifest in rendering.of_kind("PrometheusRule"):
        for group in manifest["spec"]["groups"]:
            yield from group["rules"]


def _written() -> dict[str, set[str]]:
    """Return each series of the services with its labels, as metrics.py defines it."""
    defined = re.findall(
        r'(Counter|Gauge|Histogram)\(\s*"(\w+)",(.*?)\n?\)\n', METRICS.read_text(), re.DOTALL
    )
    written: dict[str, set[str]] = {}
    for kind, name, rest in defined:
        labels: set[str] = {"le"} if kind == "Histogram" else set()
        for listed in re.findall(r"\[([^\]]*)\]", rest):
            labels |= set(re.findall(r'"(\w+)"', listed))
        written |= {f"{name}{suffix}": labels for suffix in SUFFIXES[kind]}
    return written


def _series(expression: Any) -> Iterator[Series]:
    """Yield the selectors of an expression, however deep."""
    if isinstance(expression, promql_parser.VectorSelector):
        labels = frozenset(matcher.name for matcher in expression.matchers.matchers)
        yield Series(str(expression.name), labels)
    for part in ("expr", "lhs", "rhs", "vector_selector"):
        if (below := getattr(expression, part, None)) is not None:
            yield from _series(below)
    for argument in getattr(expression, "args", None) or ():
        yield from _series(argument)
