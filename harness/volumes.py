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
        """`given` is the command's standard input."""


def offer(node: Node) -> None:
    """See to it that there are COUNT volumes, none of them used up."""
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
    """The name of one that exists."""
    return str(volume["metadata"]["name"])


def released(volumes: Iterable[dict[str, Any]]) -> list[str]:
    """Those of ours whose claim is gone."""
    gone = [volume for volume in volumes if volume["status"]["phase"] in {"Released", "Failed"}]
    return sorted(names() & {named(volume) for volume in gone})


def emptying(wanted: Sequence[str]) -> str:
    """The shell command that leaves an empty folder for each, which anyone may write in."""
    folders = " ".join(f"{FOLDER}/{name}" for name in wanted)
    return f"rm -rf {folders} && mkdir -p {folders} && chmod 0777 {folders}"


def manifest(name: str) -> dict[str, Any]:
    """The PersistentVolume; larger than anything that is claimed in a test."""
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
