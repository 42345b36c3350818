"""The folder in which the airgap keeps everything it has built, and where in it each thing lies."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cache:
    """The folder `root`; what lies in it is taken as it is, whoever built it."""

    root: Path

    @property
    def programs(self) -> Path:
        """kind, helm, kubectl, the servers and what Kubernetes consists of."""
        return self.root / "bin"

    @property
    def modules(self) -> Path:
        """The Go modules of ours that say what is built from which versions."""
        return self.root / "mod"

    def program(self, name: str) -> Path:
        """Where the program called `name` is, or will be."""
        return self.programs / name

    def has(self, name: str) -> bool:
        """Return whether the program has been built."""
        return os.access(self.program(name), os.X_OK)


def cache() -> Cache:
    """The cache of this user: $AIRGAP_CACHE, or dimse-airgap in the folder for caches."""
    if chosen := os.environ.get("AIRGAP_CACHE"):
        return Cache(Path(chosen))
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Cache(Path(caches) / "dimse-airgap")
