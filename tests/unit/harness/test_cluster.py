from pathlib import Path

import pytest
import yaml

from harness import proxy_in_cluster, reading
from harness.__main__ import ADDRESSES, addresses
from harness.cluster import Cluster, existing, gateway, merged, published_address
from harness.commands import Unusable

PROJECT = Path(__file__).parents[3]


def test_what_is_needed_is_merged_into_a_configuration() -> None:
    config = {"nodes": [1], "networking": {"ipFamily": "ipv4", "disableDefaultCNI": False}}
    needs = {"networking": {"disableDefaultCNI": True}, "featureGates": {"A": True}}
    assert merged(config, needs) == {
        "nodes": [1],
        "networking": {"ipFamily": "ipv4", "disableDefaultCNI": True},
        "featureGates": {"A": True},
    }


def test_a_published_port_is_read() -> None:
    assert published_address("127.0.0.1:43941\n") == ("127.0.0.1", 43941)


def test_one_that_is_not_published_names_the_file() -> None:
    with pytest.raises(Unusable, match=r"extraPortMappings in kind-config\.yaml"):
        published_address("")


def test_this_machine_is_the_gateway_of_the_node() -> None:
    assert gateway("default via 172.18.0.1 dev eth0 proto static\n") == "172.18.0.1"
    with pytest.raises(Unusable, match="no default route"):
        gateway("")


def test_the_configuration_lets_in_only_from_this_machine_what_up_reports() -> None:
    (node,) = yaml.safe_load((PROJECT / "kind-config.yaml").read_text())["nodes"]
    mappings = node["extraPortMappings"]
    of_tests = {reading.NODE_PORT, proxy_in_cluster.NODE_PORT}
    assert {each["containerPort"] for each in mappings} == {*ADDRESSES.values(), *of_tests}
    assert {each["listenAddress"] for each in mappings} == {"127.0.0.1"}


def test_a_cluster_that_exists_is_reached_where_its_api_server_is(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    for server in ("https://10.1.2.3:6443", "https://10.1.2.3/k8s", "https://10.1.2.3"):
        kubeconfig.write_text(of_two_clusters(server))
        cluster = existing(kubeconfig)
        assert cluster == Cluster("", kubeconfig)
        assert cluster.outside(30422) == ("10.1.2.3", 30422)


def test_a_kubeconfig_without_a_current_context_is_reported(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(of_two_clusters("https://10.1.2.3", current="gone"))
    with pytest.raises(Unusable, match="no current context"):
        existing(kubeconfig).outside(30422)


def of_two_clusters(server: str, current: str = "test") -> str:
    servers = {"production": "https://prod.example:6443", "test": server}
    return yaml.safe_dump(
        {
            "clusters": [{"name": k, "cluster": {"server": v}} for k, v in servers.items()],
            "contexts": [{"name": each, "context": {"cluster": each}} for each in servers],
            "current-context": current,
        }
    )


def test_a_kubeconfig_that_is_no_file_is_reported() -> None:
    with pytest.raises(Unusable, match="/none is not a file: name the kubeconfig"):
        existing(Path("/none"))


def test_addresses_are_reported_a_line_each() -> None:
    lines = addresses(Path("/k"), {"NATS": ("127.0.0.1", 1), "MinIO": ("127.0.0.1", 2)})
    assert lines[0] == "export KUBECONFIG=/k"
    assert [line.split() for line in lines[2:]] == [
        ["NATS", "127.0.0.1:1"],
        ["MinIO", "127.0.0.1:2"],
    ]
