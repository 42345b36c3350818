"""Volumes for a cluster that provisions none: folders of its node, offered beforehand.

Any user may write in them, as a provisioner would see to by the pod's fsGroup. One that was
released is emptied and offered again when the harness looks next.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

COUNT = 64
FOLDER = "/var/local/volumes"
STORAGE_CLASS = "standard"

_KUBECTL = ("kubectl", "--kubeconfig=/etc/kubernetes/admin.conf")


class Node(Protocol):
    """Runs a command on the cluster's node; returns its output."""

    def __call__(self, *command: str, given: str | None = None) -> str:
        """Run a command; `given` is its standard input."""


def offer(node: Node) -> None:
    """Create volumes or empty released ones, until COUNT are available."""
    existing = json.loads(node(*_KUBECTL, "get", "persistentvolumes", "-o", "json"))["items"]
    used_up = released(existing)
    if used_up:
        node(*_KUBECTL, "delete", "persistentvolumes", *used_up)
    missing = sorted(names() - {named(volume) for volume in existing} | set(used_up))
    if missing:
        node("sh", "-c", emptying(missing))
        volumes = {
            "apiVersion": "v1",
            "kind": "List",
            "items": [manifest(name) for name in missing],
        }
        node(*_KUBECTL, "apply", "-f", "-", given=json.dumps(volumes))


def names() -> set[str]:
    """Return the volumes' names."""
    return {f"volume-{number:02}" for number in range(COUNT)}


def named(volume: dict[str, Any]) -> str:
    """Return the name of an existing one."""
    return str(volume["metadata"]["name"])


def released(volumes: Iterable[dict[str, Any]]) -> list[str]:
    """Return those of ours whose claim was deleted."""
    gone = [volume for volume in volumes if volume["status"]["phase"] in {"Released", "Failed"}]
    return sorted(names() & {named(volume) for volume in gone})


def emptying(wanted: Sequence[str]) -> str:
    """Return the shell command that makes an empty folder for each, writable for everyone."""
    folders = " ".join(f"{FOLDER}/{name}" for name in wanted)
    return f"rm -rf {folders} && mkdir -p {folders} && chmod 0777 {folders}"


def manifest(name: str) -> dict[str, Any]:
    """Return the PersistentVolume; it is larger than any claim in a test."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "storageClassName": STORAGE_CLASS,
            "capacity": {"storage": "100Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": f"{FOLDER}/{name}", "type": "Directory"},
        },
    }
