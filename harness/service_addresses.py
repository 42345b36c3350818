"""Addresses of Services on a cluster whose network lets every packet out: no other host answers.

Until kube-proxy knows a Service, and after it was removed, a packet to its address would leave
the node by the host's default route. Where something answers there for every address, a pod that
starts early would take it for the Service, and keep the connection.
"""

from typing import Protocol

SERVICES = "10.96.0.0/16"
"""Where kind's control plane has Services' addresses."""

_RULE = f"FORWARD -d {SERVICES} -j REJECT"


class Node(Protocol):
    """Runs a command on the cluster's node; returns its output."""

    def __call__(self, *command: str) -> str:
        """Return the command's words."""


def keep_inside_cluster(node: Node) -> None:
    """Reject packets to a Service's address that would leave the node."""
    node("sh", "-c", f"iptables -C {_RULE} 2>/dev/null || iptables -A {_RULE}")
