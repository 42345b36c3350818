"""The chart rendered as `helm install` would, by Helm's own library: no helm binary, no cluster.

One rendering takes about 10 ms, so each test makes its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from helm_python import Chart
from helm_python.errors import HelmError

from harness.chart import CHART

Manifest = dict[str, Any]
Values = dict[str, Any]

COMPONENT = "app.kubernetes.io/component"


class Refused(Exception):
    """The chart refuses these values; `sentences` has one for each mistake."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.sentences = [
            line.strip().removeprefix("- ")
            for line in message.splitlines()
            if line.strip().startswith("- ")
        ]


@dataclass(frozen=True)
class Pod:
    """A pod as a manifest describes it: its component, metadata and spec."""

    component: str
    metadata: dict[str, Any]
    spec: dict[str, Any]
    runs_on: bool
    """True for a server, False for a pod of a Job."""

    @property
    def labels(self) -> dict[str, str]:
        """The pod's labels."""
        return dict(self.metadata["labels"])

    @property
    def container(self) -> dict[str, Any]:
        """The pod's only container."""
        (only,) = self.spec["containers"]
        return dict(only)

    @property
    def environment(self) -> dict[str, str]:
        """The variables whose value is in the manifest."""
        return {each["name"]: each["value"] for each in self.container["env"] if "value" in each}

    def volume(self, name: str) -> dict[str, Any]:
        """Return the volume of that name. Raises KeyError."""
        return {each["name"]: dict(each) for each in self.spec.get("volumes", [])}[name]


@dataclass(frozen=True)
class Rendering:
    """The rendering of one release: its manifests, and Helm's notes."""

    values: Values
    manifests: tuple[Manifest, ...]
    notes: str

    def of_kind(self, *kinds: str) -> list[Manifest]:
        """Return the manifests of these kinds."""
        return [each for each in self.manifests if each["kind"] in kinds]

    def pods(self) -> Iterator[Pod]:
        """Yield every pod that is described, by itself or as a template."""
        for each in self.of_kind("Deployment"):
            template = each["spec"]["template"]
            component = each["metadata"]["labels"][COMPONENT]
            yield Pod(component, template["metadata"], template["spec"], runs_on=True)
        for each in self.of_kind("Pod"):
            component = each["metadata"]["labels"][COMPONENT]
            yield Pod(component, each["metadata"], each["spec"], runs_on=False)

    def pod(self, component: str) -> Pod:
        """Return the pod of a component. Raises StopIteration."""
        return next(pod for pod in self.pods() if pod.component == component)


def rendered(
    values: Values | None = None,
    *,
    name: str = "radiology",
    namespace: str = "imaging",
    chart: Path = CHART,
) -> Rendering:
    """Return what `helm install NAME -n NAMESPACE` would apply. Raises Refused."""
    try:
        files = _chart(chart).render(values or {}, name=name, namespace=namespace)
        merged = _chart(chart).merge_values(values or {})
    except HelmError as error:
        raise Refused(str(error)) from None
    notes = next(text for file, text in files.items() if file.endswith("NOTES.txt"))
    manifests = (
        manifest
        for file, text in sorted(files.items())
        if file.endswith(".yaml")
        for manifest in yaml.load_all(text, Loader=yaml.CSafeLoader)
        if manifest
    )
    return Rendering(merged, tuple(manifests), notes)


def values_files() -> dict[str, Path]:
    """Return every values file that the chart ships, by its name below the chart."""
    files = [*(CHART / "ci").glob("*-values.yaml"), *(CHART / "examples").glob("*.yaml")]
    return {str(file.relative_to(CHART)): file for file in sorted(files)}


def shipped_values(name: str) -> Values:
    """Return the values in the file of that name below the chart."""
    content: Values = yaml.safe_load((CHART / name).read_text(encoding="utf-8"))
    return content


@cache
def _chart(folder: Path) -> Chart:
    return Chart.load(folder)
