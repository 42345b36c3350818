"""Programs built from Go modules into the cache; an existing one isn't built again.

A file beside each names its sources, so that another pin rebuilds it. A program without that file
was copied there and is used as it is.
"""

import hashlib
import json
from pathlib import Path

from harness.airgap import machine, pins
from harness.airgap.cache import Cache
from harness.commands import Unusable, output

NODE_PROGRAMS = ("kubernetes", "etcd", "coredns", "pause")
"""What pins.NODE_MODULE builds."""

_VERSION = "k8s.io/component-base/version"
_LONGEST_BUILD = 3600.0


def is_built(cache: Cache, name: str) -> bool:
    """Return whether the program has been built from what is pinned now."""
    note = _note(cache, name)
    return cache.has(name) and (not note.exists() or note.read_text() == source(name))


def source(name: str) -> str:
    """Return the program's source: a module's version, or the content of our own module."""
    if name not in NODE_PROGRAMS:
        return pins.PROGRAMS[name]
    files = [*sorted(pins.NODE_MODULE.glob("*/*.go")), pins.NODE_MODULE / "go.mod"]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def install(cache: Cache, name: str) -> Path:
    """Return the program of this name in pins.PROGRAMS."""
    if not is_built(cache, name):
        _install(cache, [pins.PROGRAMS[name]], ["-s", "-w"])
        _note(cache, name).write_text(source(name))
    return cache.program(name)


def node_programs(cache: Cache) -> None:
    """Compile every program of the node together, since most of it is shared."""
    if all(is_built(cache, name) for name in NODE_PROGRAMS):
        return
    _install(cache, ["./..."], ["-s", "-w", *version_flags(pins.KUBERNETES)], pins.NODE_MODULE)
    for name in NODE_PROGRAMS:
        _note(cache, name).write_text(source(name))


def version_flags(version: str) -> list[str]:
    """Return the linker's flags with Kubernetes' version, which kubeadm compares."""
    major, minor, _ = version.removeprefix("v").split(".", 2)
    fields = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return [word for key, value in fields.items() for word in ("-X", f"{_VERSION}.{key}={value}")]


def kinds_files(cache: Cache) -> Path:
    """Return the files of kind's own base image, out of its module."""
    message = _go(cache, "mod", "download", "-json", f"sigs.k8s.io/kind@{pins.KIND}")
    return Path(json.loads(message)["Dir"]) / "images" / "base" / "files"


def _note(cache: Cache, name: str) -> Path:
    return cache.programs / f".{name}.built-from"


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
