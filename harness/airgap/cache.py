"""The folder with everything that the airgap has built, and the paths in it."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cache:
    """The folder `root`; existing files are used as they are."""

    root: Path

    @property
    def programs(self) -> Path:
        """The folder of kind, helm, kubectl, the servers and the parts of Kubernetes."""
        return self.root / "bin"

    @property
    def modules(self) -> Path:
        """The Go modules of this project that pin the versions to build."""
        return self.root / "mod"

    def program(self, name: str) -> Path:
        """Return the path of the program `name`, which may not exist yet."""
        return self.programs / name

    def has(self, name: str) -> bool:
        """Return whether the program has been built."""
        return os.access(self.program(name), os.X_OK)


def cache() -> Cache:
    """Return the cache of this user: $AIRGAP_CACHE, or dimse-airgap in the folder for caches."""
    if chosen := os.environ.get("AIRGAP_CACHE"):
        return Cache(Path(chosen))
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Cache(Path(caches) / "dimse-airgap")
