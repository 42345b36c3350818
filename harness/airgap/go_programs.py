"""Programs built from Go modules into the cache; one that is there isn't built again."""

import json
from pathlib import Path

from harness.airgap import machine, pins
from harness.airgap.cache import Cache
from harness.commands import Unusable, output

NODE_PROGRAMS = ("kubernetes", "etcd", "coredns")
"""What pins.NODE_MODULE builds."""

_VERSION = "k8s.io/component-base/version"
_LONGEST_BUILD = 3600.0


def installed(cache: Cache, name: str) -> Path:
    """The program of this name in pins.PROGRAMS."""
    if not cache.has(name):
        _install(cache, [pins.PROGRAMS[name]], ["-s", "-w"])
    return cache.program(name)


def node_programs(cache: Cache) -> None:
    """Everything that runs on the node: compiled together, since most of it is shared."""
    if not all(cache.has(name) for name in NODE_PROGRAMS):
        _install(cache, ["./..."], ["-s", "-w", *version_flags(pins.KUBERNETES)], pins.NODE_MODULE)


def version_flags(version: str) -> list[str]:
    """How the linker tells Kubernetes its own version, which kubeadm compares."""
    major, minor, _ = version.removeprefix("v").split(".", 2)
    told = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return [word for key, value in told.items() for word in ("-X", f"{_VERSION}.{key}={value}")]


def kinds_files(cache: Cache) -> Path:
    """The files of kind's own base image, out of its module."""
    said = _go(cache, "mod", "download", "-json", f"sigs.k8s.io/kind@{pins.KIND}")
    return Path(json.loads(said)["Dir"]) / "images" / "base" / "files"


def _install(
    cache: Cache, packages: list[str], linking: list[str], folder: Path = Path("/")
) -> None:
    cache.programs.mkdir(parents=True, exist_ok=True)
    _go(cache, "install", "-ldflags", " ".join(linking), *packages, folder=folder)


def _go(cache: Cache, *arguments: str, folder: Path = Path("/")) -> str:
    command = machine.go()
    if command is None:
        raise Unusable("Go is not installed: put it on PATH")
    environment = {"GOBIN": str(cache.programs), "CGO_ENABLED": "0"}
    return output(command, *arguments, env=environment, cwd=folder, seconds=_LONGEST_BUILD)
