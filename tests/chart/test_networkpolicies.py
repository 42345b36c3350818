"""NetworkPolicies let through what a release needs, and name nobody who isn't there."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from harness.chart.rendering import COMPONENT, Manifest, Pod, Rendering, rendered, shipped_values

NAME = "app.kubernetes.io/name"
Rule = dict[str, Any]


@pytest.fixture(scope="module")
def whole() -> Rendering:
    """Return a release with every component, and policies for both directions."""
    return rendered(shipped_values("ci/everything-on-values.yaml"))


def test_every_component_has_its_policy(rendering: Rendering) -> None:
    for pod in rendering.pods():
        if pod.runs_on:
            assert len(list(_policies_of(rendering, pod))) == 1, pod.component


def test_policies_choose_pods_that_exist(rendering: Rendering) -> None:
    for policy in rendering.of_kind("NetworkPolicy"):
        chosen = [pod for pod in rendering.pods() if _chooses(policy["spec"]["podSelector"], pod)]
        assert [pod.component for pod in chosen] == [policy["metadata"]["labels"][COMPONENT]]


def test_peers_of_this_chart_are_components_that_it_has(whole: Rendering) -> None:
    components = {pod.component for pod in whole.pods()}
    for peer in _peers(whole):
        selector = peer.get("podSelector", {})
        named = {selector.get("matchLabels", {}).get(COMPONENT)} - {None}
        for expression in selector.get("matchExpressions", []):
            named |= set(expression["values"])
        assert named <= components


def test_ports_let_in_are_ports_that_are_listened_at(whole: Rendering) -> None:
    for policy in whole.of_kind("NetworkPolicy"):
        pod = whole.pod(policy["metadata"]["labels"][COMPONENT])
        listened = {port["containerPort"] for port in pod.container["ports"]}
        allowed = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
        assert allowed == listened, pod.component


@pytest.mark.parametrize("asking", ["ingestion", "dicomweb"])
def test_catalogue_is_reached_by_those_who_ask_it(whole: Rendering, asking: str) -> None:
    catalogue, other = whole.pod("catalogue"), whole.pod(asking)
    assert _admits(_rules(whole, catalogue, "ingress"), "from", other, 8443)
    assert _admits(_rules(whole, other, "egress"), "to", catalogue, 8443)


def test_without_tls_the_catalogue_is_reached_at_the_port_of_its_probes() -> None:
    values = shipped_values("ci/minimal-values.yaml") | {"catalogueSecure": False}
    rendering = rendered(values | {"networkPolicy": {"egress": {"enabled": True}}})
    catalogue, other = rendering.pod("catalogue"), rendering.pod("ingestion")
    assert _admits(_rules(rendering, catalogue, "ingress"), "from", other, 8080)
    assert _admits(_rules(rendering, other, "egress"), "to", catalogue, 8080)


@pytest.mark.parametrize("stranger", ["proxy", "test"])
def test_catalogue_is_not_reached_by_others(whole: Rendering, stranger: str) -> None:
    rules = _rules(whole, whole.pod("catalogue"), "ingress")
    assert not _admits(rules, "from", whole.pod(stranger), 8443)
    assert not _admits(rules, "from", whole.pod(stranger), 8080)


def test_catalogue_of_another_namespace_is_reached_there() -> None:
    rendering = rendered(shipped_values("ci/external-catalogue-values.yaml"))
    to = [
        peer["namespaceSelector"]["matchLabels"]
        for rule in _rules(rendering, rendering.pod("ingestion"), "egress")
        for peer in rule.get("to", [])
    ]
    assert to == [{"kubernetes.io/metadata.name": "imaging"}]


@pytest.mark.parametrize(
    ("url", "ports"),
    [
        ("nats.example.org:4222", {4222}),
        ("nats.example.org", {4222}),
        ("0a0527d6.nip.io:443", {443}),
        ("wss://nats.example.org", {443}),
        ("tls://a:4223,tls://b:4224", {4223, 4224}),
        ("tls://[2001:db8::1]:4225", {4225}),
    ],
)
def test_nats_is_reached_at_the_ports_of_its_address(url: str, ports: set[int]) -> None:
    values = shipped_values("ci/minimal-values.yaml")
    values |= {"natsUrl": url, "networkPolicy": {"egress": {"enabled": True}}}
    rendering = rendered(values)
    rules = _rules(rendering, rendering.pod("ingestion"), "egress")
    assert ports in [{port["port"] for port in rule["ports"]} for rule in rules]


def test_peers_of_the_proxy_are_reached_at_their_ports(whole: Rendering) -> None:
    rules = _rules(whole, whole.pod("proxy"), "egress")
    assert {11112, 2762} in [{port["port"] for port in rule["ports"]} for rule in rules]


def test_names_are_resolved_wherever_egress_is_bounded(whole: Rendering) -> None:
    """A policy sees the port of the pod behind the Service; OpenShift's is 5353."""
    wanted = [(53, "UDP"), (53, "TCP"), (5353, "UDP"), (5353, "TCP")]
    for policy in whole.of_kind("NetworkPolicy"):
        ports = [(port["port"], port["protocol"]) for port in policy["spec"]["egress"][0]["ports"]]
        assert ports == wanted


def test_no_policies_where_they_are_switched_off() -> None:
    values = shipped_values("ci/minimal-values.yaml") | {"networkPolicy": {"enabled": False}}
    assert not rendered(values).of_kind("NetworkPolicy")


def _policies_of(rendering: Rendering, pod: Pod) -> Iterator[Manifest]:
    for policy in rendering.of_kind("NetworkPolicy"):
        if _chooses(policy["spec"]["podSelector"], pod):
            yield policy


@pytest.mark.parametrize(
    ("repository", "port"),
    [
        ("tls://arr.example.org", {"port": 6514, "protocol": "TCP"}),
        ("tls://arr.example.org:7514/", {"port": 7514, "protocol": "TCP"}),
        ("udp://[fd00::1]", {"port": 514, "protocol": "UDP"}),
    ],
)
def test_the_audit_repository_is_reached_by_those_who_report(
    repository: str, port: dict[str, Any]
) -> None:
    values = shipped_values("ci/minimal-values.yaml")
    more = {"networkPolicy": {"egress": {"enabled": True}}, "audit": {"repository": repository}}
    proxy = {"enabled": True, "proxyId": "ward7"}
    rendering = rendered(values | more | {"dicomweb": {"enabled": True}, "proxy": proxy})
    for component in ("proxy", "dicomweb"):
        rules = _rules(rendering, rendering.pod(component), "egress")
        assert {"ports": [port]} in rules, component
    ingestion = _rules(rendering, rendering.pod("ingestion"), "egress")
    assert {"ports": [port]} not in ingestion


def _rules(rendering: Rendering, pod: Pod, direction: str) -> list[Rule]:
    return [rule for each in _policies_of(rendering, pod) for rule in each["spec"][direction]]


def _peers(rendering: Rendering) -> Iterator[dict[str, Any]]:
    for policy in rendering.of_kind("NetworkPolicy"):
        for direction, side in (("ingress", "from"), ("egress", "to")):
            for rule in policy["spec"].get(direction, []):
                yield from (peer for peer in rule.get(side, []) if _ours(peer))


def _ours(peer: dict[str, Any]) -> bool:
    labels = peer.get("podSelector", {}).get("matchLabels", {})
    return bool(labels.get(NAME) == "dimse-ingestion")


def _admits(rules: Iterable[Rule], side: str, peer: Pod, port: int) -> bool:
    """Return whether a rule lets a pod of the same namespace through at a port."""
    return any(
        port in {each["port"] for each in rule["ports"]}
        and (side not in rule or any(_is_peer(each, peer) for each in rule[side]))
        for rule in rules
    )


def _is_peer(peer: dict[str, Any], pod: Pod) -> bool:
    if "namespaceSelector" in peer or "podSelector" not in peer:
        return False
    return _chooses(peer["podSelector"], pod)


def _chooses(selector: dict[str, Any], pod: Pod) -> bool:
    if not selector.get("matchLabels", {}).items() <= pod.labels.items():
        return False
    return all(
        pod.labels.get(each["key"]) in each["values"]
        for each in selector.get("matchExpressions", [])
    )
