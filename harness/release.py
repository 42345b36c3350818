"""A Helm release of the chart, or of another, by the helm binary, as an operator installs it.

Values are dictionaries as in a values file. It does not depend on the parts of a storage space
(harness.provisioning); what Kubernetes makes of a release is seen by harness.kubernetes_objects.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.commands import output
from harness.kubernetes_objects import Namespace
from harness.tools import tool

Values = Mapping[str, Any]

CHART = Path(__file__).parent.parent / "charts" / "dimse-ingestion"
_LONGEST = 90
FIRST_LOOK = {
    # tests wait for these often; in production a longer interval is enough
    "probes": {
        "startup": {"periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 120},
        "readiness": {"periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 3},
    }
}
"""Values that come with every release of the chart."""


@dataclass(frozen=True)
class Release:
    """The release called `name` in `namespace`, installed or not."""

    namespace: Namespace
    name: str
    chart: Path = CHART

    def install(self, values: Values, *, wait: bool = True) -> "Release":
        """Install it; wait until all its pods are ready, unless `wait` is off; return it."""
        self._helm("install", self.name, str(self.chart), *_waiting(wait), given=values)
        return self

    def install_or_upgrade(self, values: Values) -> "Release":
        """Install it, or upgrade it to these values where it is installed; return it."""
        self._helm(
            "upgrade", "--install", self.name, str(self.chart), *_waiting(True), given=values
        )
        return self

    def upgrade(self, values: Values, *, wait: bool = True) -> None:
        """Give it these values and no others, and wait until its pods are of them and ready."""
        self._helm("upgrade", self.name, str(self.chart), *_waiting(wait), given=values)

    def uninstall(self) -> None:
        """Uninstall it and wait until its pods are gone; do nothing when there is none."""
        self._helm("uninstall", self.name, "--ignore-not-found", *_waiting(True))
        self.namespace.wait_until_none("Pod", self.selector())

    def run_tests(self) -> str:
        """Run `helm test` and return its output; Unusable with it when it fails."""
        return self._helm("test", self.name, "--logs", "--timeout", f"{_LONGEST}s")

    def notes(self) -> str:
        """Return the notes that are printed at the end of an installation."""
        return self._helm("get", "notes", self.name)

    def everything(self) -> str:
        """Return all that Helm stores about it: values, manifests, hooks, notes."""
        return self._helm("get", "all", self.name)

    def selector(self, component: str = "") -> str:
        """Return the labels of its objects, or of those of one component."""
        labels = f"app.kubernetes.io/instance={self.name}"
        return f"{labels},app.kubernetes.io/component={component}" if component else labels

    def pods(self, component: str) -> list[dict[str, Any]]:
        """Return a component's pods that are not being deleted."""
        return self.namespace.pods(self.selector(component))

    def pod_names(self, component: str) -> list[str]:
        """Return their names."""
        return [str(each["metadata"]["name"]) for each in self.pods(component)]

    def restart(self, component: str) -> None:
        """Run `kubectl rollout restart`, and wait until it is done."""
        deployment = f"{self.name}-{component}"
        annotation = {"kubectl.kubernetes.io/restartedAt": datetime.now(UTC).isoformat()}
        change = {"spec": {"template": {"metadata": {"annotations": annotation}}}}
        self.namespace.patch("Deployment", deployment, change)
        self.namespace.wait_until_rolled_out(deployment)

    def _helm(self, *arguments: str, given: Values | None = None) -> str:
        place = ["--kubeconfig", str(self.namespace.kubeconfig), "-n", self.namespace.name]
        always = FIRST_LOOK if self.chart == CHART else {}
        values = None if given is None else json.dumps(always | dict(given))
        more = [] if given is None else ["--values", "-"]
        helm = tool("helm", _silent)
        return output(helm, *arguments, *place, *more, given=values, seconds=_LONGEST + 60)


def _waiting(wait: bool) -> list[str]:
    return ["--wait", "--timeout", f"{_LONGEST}s"] if wait else []


def _silent(_line: str) -> None:
    """Discard messages: where helm comes from was printed before."""
