"""Evidence of a failed test: pods' logs, events, manifests, releases, proxies' logs.

Everything that a test works on is a witness from its making to its removal. Secrets are left out,
and data sets too. Gathering never fails: an error is written in its place.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness.commands import Unusable, last_lines
from harness.kubernetes_objects import Namespace
from harness.release import Release
from harness.services import ServiceProcess

FOLDER = Path(__file__).parent.parent / ".evidence"

_KINDS = (
    *("Deployment", "ReplicaSet", "Pod", "Service", "ConfigMap", "ServiceAccount"),
    *("PersistentVolumeClaim", "PodDisruptionBudget", "NetworkPolicy"),
)
_SHOWN = 8
_LONGEST_NAME = 100

Files = Mapping[str, str]
"""Texts by the names of the files they shall be."""


@dataclass
class Witnesses:
    """The sources of evidence; `witnesses` are functions that return files, by name."""

    witnesses: dict[str, Callable[[], Files]] = field(default_factory=dict)

    def namespace(self, namespace: Namespace) -> None:
        """Collect a namespace's pods, events and objects."""
        self.witnesses[namespace.name] = lambda: of_namespace(namespace)

    def resource(self, namespace: Namespace, kind: str, name: str) -> None:
        """Collect a custom resource."""
        self.witnesses[f"{namespace.name}/{kind}-{name}"] = lambda: {
            "resource.yaml": yaml.safe_dump(namespace.read(kind, name), sort_keys=False)
        }

    def release(self, release: Release) -> None:
        """Collect Helm's records of a release."""
        name = f"{release.namespace.name}/{release.name}"
        self.witnesses[name] = lambda: {"helm.txt": release.everything()}

    def process(self, name: str, process: ServiceProcess) -> None:
        """Collect the log of a process outside the cluster."""
        self.witnesses[name] = lambda: {"log.txt": "\n".join(process.lines())}

    def dismiss(self, name: str) -> None:
        """Forget a witness and those below its name."""
        self.witnesses = {
            each: witness
            for each, witness in self.witnesses.items()
            if each != name and not each.startswith(f"{name}/")
        }

    def gather(self, test: str, folder: Path = FOLDER) -> list[Path]:
        """Write all evidence below a folder with the test's name; return the files."""
        place = folder / re.sub(r"[^\w.-]+", "-", test).strip("-")[-_LONGEST_NAME:]
        return [
            write_file(place / name / file, text)
            for name, witness in self.witnesses.items()
            for file, text in _collected(witness).items()
        ]


def of_namespace(namespace: Namespace) -> Files:
    """Return events, objects without Secrets, and each container's log, of its last start too."""
    pods = namespace.list_objects("Pod")
    logs = {file: text for pod in pods for file, text in _logs(namespace, pod)}
    return {
        "events.txt": "\n".join(_events(namespace)),
        "objects.yaml": yaml.safe_dump_all(_objects(namespace), sort_keys=False),
        **logs,
    }


def shown(files: list[Path]) -> str:
    """Return the end of each log file, short enough for a terminal."""
    logs = [file for file in files if file.suffix in {".log", ".txt"} and file.stat().st_size]
    return "\n".join(f"--- {file}\n{_end(file)}" for file in logs if file.name != "helm.txt")


def write_file(file: Path, text: str) -> Path:
    """Write a file, its folders too; return it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def _collected(witness: Callable[[], Files]) -> Files:
    try:
        return witness()
    except (Exception, Unusable) as error:  # noqa: BLE001 - the test's own failure matters more
        return {"error.txt": f"{type(error).__name__}: {error}"}


def _logs(namespace: Namespace, pod: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    name, status = pod["metadata"]["name"], pod.get("status", {})
    for container in status.get("containerStatuses") or []:
        of = container["name"]
        yield f"{name}.{of}.log", namespace.log(name, of)
        if container.get("restartCount"):
            yield f"{name}.{of}.previous.log", namespace.log(name, of, previous=True)


def _objects(namespace: Namespace) -> list[dict[str, Any]]:
    every = [each for kind in _KINDS for each in namespace.list_objects(kind)]
    for each in every:
        each["metadata"].pop("managedFields", None)
    return every


def _events(namespace: Namespace) -> list[str]:
    events = namespace.list_objects("Event")
    events.sort(key=lambda each: each.get("lastTimestamp") or each.get("eventTime") or "")
    return [
        f"{each.get('lastTimestamp') or each.get('eventTime')} {each['type']} "
        f"{each['involvedObject']['name']}: {each.get('message', '')}"
        for each in events
    ]


def _end(file: Path) -> str:
    return "\n".join(line[:400] for line in last_lines(file.read_text(), _SHOWN).splitlines())
