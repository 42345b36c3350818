"""Whether the watches of objects still tell what happens: what a look finds must be heard of.

Listing all Secrets of a cluster for a comparison, as `watchfulness` does with the few custom
resources, would cost too much. But each look reads what its resource names and has made; of each
version that it finds, the watch has told, or tells soon. No request is made for this.
"""

import time
from collections.abc import Callable, Collection

from dimse_ingestion.operator.resources import CHART_NAME, NAME_LABEL, Manifest

PATIENCE = 120.0
_WATCHED = ("ConfigMap", "Deployment", "Secret", "Service")
_BY_LABEL = ("Deployment", "Service")
_Which = tuple[str, str, str]


class Hearing:
    """What was heard of and what was found, of Deployments, Services, Secrets and ConfigMaps."""

    def __init__(
        self, namespaces: Collection[str] = (), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.now = clock
        self._namespaces = namespaces
        self._heard: dict[_Which, tuple[str, float]] = {}
        self._unheard: dict[_Which, float] = {}

    @property
    def trouble(self) -> str:
        """A sentence when a watch is dead; else empty."""
        now = self.now()
        for (kind, namespace, name), since in self._unheard.items():
            if now - since > PATIENCE:
                return silence(f"{kind} {namespace}/{name}")
        return ""

    def heard(self, manifest: Manifest, gone: bool = False) -> None:
        """The watch has told of an object."""
        which = _which(manifest)
        if which[0] not in _WATCHED:
            return
        self._unheard.pop(which, None)
        if gone:
            self._heard.pop(which, None)
        else:
            self._heard[which] = (manifest["metadata"]["resourceVersion"], self.now())

    def found(self, manifest: Manifest, since: float) -> None:
        """A look that began then has found an object as it is now."""
        if not self._is_watched(manifest):
            return
        which = _which(manifest)
        version, when = self._heard.get(which, ("", since))
        if version == manifest["metadata"]["resourceVersion"] or when > since:
            self._unheard.pop(which, None)
        else:
            self._unheard.setdefault(which, self.now())

    def missed(self, kind: str, namespace: str, name: str) -> None:
        """A look has found no such object."""
        self._heard.pop((kind, namespace, name), None)
        self._unheard.pop((kind, namespace, name), None)

    def _is_watched(self, manifest: Manifest) -> bool:
        kind, namespace, _ = _which(manifest)
        labels = manifest["metadata"].get("labels") or {}
        return (
            kind in _WATCHED
            and (not self._namespaces or namespace in self._namespaces)
            and (kind not in _BY_LABEL or labels.get(NAME_LABEL) == CHART_NAME)
        )


def silence(of: str) -> str:
    """What is said of a watch that is dead."""
    return f"The watch has not told of {of} in {PATIENCE:.0f} s: it is dead."


def _which(manifest: Manifest) -> _Which:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata.get("namespace", ""), metadata["name"]
