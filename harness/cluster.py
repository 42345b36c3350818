"""The Kubernetes cluster that end-to-end tests run on: one of kind's, or an existing one.

What kind needs is found, downloaded or built (harness.tools, harness.airgap). A cluster made here
stays until `deleted` is called, so that a second run starts at once.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness import registries, service_addresses, volumes
from harness.airgap import building, pins
from harness.airgap.progress import Progress
from harness.commands import Say, Unusable, output, succeeds
from harness.tools import tool

NAME = "dimse"
"""The default name of the cluster."""

_PROJECT = Path(__file__).parent.parent
_STATE = _PROJECT / ".tools" / "clusters"
_PATIENCE = "180s"

_AIRGAP_NEEDS: dict[str, Any] = {
    # the node carries a bridge network of its own, for one node, without NetworkPolicy
    "networking": {"disableDefaultCNI": True},
    # where the host grants no CAP_SYS_RESOURCE the kubelet shall only warn
    "featureGates": {"KubeletInUserNamespace": True},
}


@dataclass(frozen=True)
class Cluster:
    """A cluster that answers; `name` is kind's, and empty for one that was there before."""

    name: str
    kubeconfig: Path

    @property
    def node(self) -> str:
        """The container that is the node of a cluster made here."""
        return f"{self.name}-control-plane"

    def outside(self, node_port: int) -> tuple[str, int]:
        """Return the host and port at which a NodePort is reached from this machine."""
        if not self.name:
            return _address(self.kubeconfig), node_port
        return published_address(output("docker", "port", self.node, f"{node_port}/tcp"))

    def this_machine(self) -> str:
        """Return the address at which pods of a cluster made here reach this machine."""
        route = self.on_node("ip", "-4", "route", "show", "default")
        return gateway(route)

    def enforces_network_policies(self) -> bool:
        """Return whether its network does: kind's own does, the airgap's bridge doesn't."""
        return not self.name or registries.reached()

    def load(self, *images: str) -> None:
        """Load Docker images into the node; another's cluster pulls them from its registry."""
        if self.name and images:
            output(tool("kind", _silent), "load", "docker-image", "--name", self.name, *images)

    def crash(self, container_id: str) -> None:
        """Kill a container's first process by SIGKILL, as the kernel does when memory is short.

        `container_id` is as in a pod's status. Only on a cluster made here.
        """
        _, _, container = container_id.partition("://")
        self.on_node("ctr", "-n", "k8s.io", "task", "kill", "-s", "SIGKILL", container)

    def on_node(self, *command: str, given: str | None = None) -> str:
        """Return a command's output on the node of a cluster made here."""
        return output("docker", "exec", "-i", self.node, *command, given=given)


def create(name: str = NAME, *, say: Say) -> Cluster:
    """Return the cluster called `name`, made unless it exists. Raises Unusable with the cure."""
    image = _node_image(say)
    kind, cluster = tool("kind", say), Cluster(name, kubeconfig_of(name))
    if answers(name):
        say(f"the cluster {name} is there")
        _STATE.mkdir(parents=True, exist_ok=True)
        cluster.kubeconfig.write_text(output(kind, "get", "kubeconfig", "--name", name))
    else:
        delete(name, say=say)
        with Progress(1, say).step(f"creating the cluster {name} from {image}"):
            _create(kind, cluster, image)
    if image == pins.NODE_IMAGE:
        volumes.offer(cluster.on_node)
        service_addresses.keep_inside_cluster(cluster.on_node)
    return cluster


def existing(kubeconfig: Path) -> Cluster:
    """Return the cluster that `kubeconfig` names, which is never deleted here."""
    if not kubeconfig.is_file():
        raise Unusable(f"{kubeconfig} is not a file: name the kubeconfig of a cluster that exists")
    ours = {kubeconfig_of(path.stem).resolve(): path.stem for path in _STATE.glob("*.kubeconfig")}
    return Cluster(ours.get(kubeconfig.resolve(), ""), kubeconfig)


def delete(name: str = NAME, *, say: Say) -> None:
    """Delete everything of the cluster called `name`."""
    if succeeds("docker", "container", "inspect", f"{name}-control-plane"):
        say(f"deleting the cluster {name}")
        kind = tool("kind", say)
        output(kind, "delete", "cluster", "--name", name, env=_own_kubeconfig(name))
    kubeconfig_of(name).unlink(missing_ok=True)


def answers(name: str) -> bool:
    """Return whether the cluster exists and its API server is ready, not just its remains."""
    request = ("kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", "get", "--raw", "/readyz")
    return succeeds("docker", "exec", f"{name}-control-plane", *request)


def kubeconfig_of(name: str) -> Path:
    """Return the path of the kubeconfig of a cluster made here."""
    return _STATE / f"{name}.kubeconfig"


def merged(config: dict[str, Any], needs: dict[str, Any]) -> dict[str, Any]:
    """Return a kind configuration with what is needed beside it; what is needed wins."""
    both = {key: config[key] | needs[key] for key in config.keys() & needs.keys()}
    return config | needs | both


def published_address(answer: str) -> tuple[str, int]:
    """Parse host and port from the output of `docker port`. Raises Unusable."""
    result = re.search(r"^([\d.]+):(\d+)$", answer, re.MULTILINE)
    if not result:
        raise Unusable("that NodePort is not published: see extraPortMappings in kind-config.yaml")
    return result[1], int(result[2])


def gateway(route: str) -> str:
    """Parse the gateway from the output of `ip route show default`. Raises Unusable."""
    result = re.search(r"^default via ([\d.]+)", route, re.MULTILINE)
    if not result:
        raise Unusable("the node has no default route: this machine is not reached from its pods")
    return result[1]


def _node_image(say: Say) -> str:
    if not registries.reached():
        return building.ready(say)
    if succeeds("docker", "info"):
        return pins.PULLED_NODE_IMAGE
    raise Unusable("Docker does not answer: install and start it, or join the group docker")


def _create(kind: Path, cluster: Cluster, image: str) -> None:
    _STATE.mkdir(parents=True, exist_ok=True)
    config = yaml.safe_load((_PROJECT / "kind-config.yaml").read_text())
    if image == pins.NODE_IMAGE:
        config = merged(config, _AIRGAP_NEEDS)
    output(
        *(kind, "create", "cluster", "--name", cluster.name, "--image", image),
        *("--kubeconfig", cluster.kubeconfig, "--config", "-", "--wait", _PATIENCE),
        given=yaml.safe_dump(config),
    )


def _own_kubeconfig(name: str) -> dict[str, str]:
    return {"KUBECONFIG": str(kubeconfig_of(name))}


def _address(kubeconfig: Path) -> str:
    """Return the host of the current context's API server, in a small cluster also a node's.

    Raises Unusable when there is none.
    """
    described = yaml.safe_load(kubeconfig.read_text()) or {}
    contexts = {each["name"]: each["context"] for each in described.get("contexts") or ()}
    clusters = {each["name"]: each["cluster"] for each in described.get("clusters") or ()}
    context = contexts.get(described.get("current-context"), {})
    server = clusters.get(context.get("cluster"), {}).get("server", "")
    result = re.match(r"https?://\[?([^\]/]+?)\]?(?::\d+)?(?:/|$)", server)
    if result is None:
        raise Unusable(
            f"{kubeconfig} has no current context with a cluster: kubectl config use-context"
        )
    return result[1]


def _silent(_line: str) -> None:
    """Discard messages."""
