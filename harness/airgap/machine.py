"""Requirements of the airgap: Debian, root, Go, and packages that it installs itself."""

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from harness.airgap.progress import Progress
from harness.commands import Say, Unusable, output

PACKAGES = ("docker.io", "containerd", "runc", "debootstrap", "iptables")
"""The engine, and what makes a Debian root folder."""

OLDEST_GO = (1, 24)

_OS_RELEASE = Path("/etc/os-release")
_GO_PLACES = "/usr/local/go/bin"
_POLICY = Path("/usr/sbin/policy-rc.d")


def prepare(say: Say) -> None:
    """Install what is missing. Raises Unusable with all that a person has to do first."""
    if problems := unfit(os_release(_OS_RELEASE), os.geteuid(), go_version()):
        raise Unusable("\n".join(problems))
    missing = [package for package in PACKAGES if not _is_installed(package)]
    if missing:
        with Progress(1, say).step(f"installing {' '.join(missing)}"):
            _install(missing)


def unfit(release: Mapping[str, str], user: int, go: tuple[int, ...]) -> list[str]:
    """Return a sentence for each reason why nothing can be built here."""
    problems = []
    if "debian" not in {release.get("ID", ""), *release.get("ID_LIKE", "").split()}:
        name = release.get("PRETTY_NAME", "this system")
        problems.append(
            f"{name} is not Debian: run this on Debian, or where image registries are reached"
        )
    if user != 0:
        problems.append(
            "Only root can start Docker's engine and make root folders: run this as root"
        )
    if not go:
        problems.append(f"Go is not installed: put Go {_version_text(OLDEST_GO)} or newer on PATH")
    elif go < OLDEST_GO:
        problems.append(
            f"Go {_version_text(go)} is too old: put Go {_version_text(OLDEST_GO)} or newer on PATH"
        )
    return problems


def os_release(path: Path) -> dict[str, str]:
    """Return the names and values of an os-release file; none when there is no such file."""
    if not path.exists():
        return {}
    match = re.findall(r'^(\w+)="?(.*?)"?$', path.read_text(), re.MULTILINE)
    return dict(match)


def go() -> Path | None:
    """Return the Go command: on PATH, or where Go's own archive is unpacked."""
    path = os.pathsep.join([os.environ.get("PATH", ""), _GO_PLACES])
    match = shutil.which("go", path=path)
    return Path(match) if match else None


def go_version() -> tuple[int, ...]:
    """Return major and minor version of Go; empty when it isn't there."""
    command = go()
    return parsed_go_version(output(command, "version")) if command else ()


def parsed_go_version(text: str) -> tuple[int, ...]:
    """Return major and minor version in the output of `go version`."""
    match = re.search(r"\bgo(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else ()


def _version_text(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)


def _is_installed(package: str) -> bool:
    try:
        text = output("dpkg-query", "--show", "--showformat=${Status}", package)
    except Unusable:
        return False
    return "ok installed" in text


def _install(packages: list[str]) -> None:
    """Install them without starting their services: the engine is started by harness.airgap."""
    output("apt-get", "update", "--quiet")
    ours = not _POLICY.exists()
    if ours:
        _POLICY.write_text("#!/bin/sh\nexit 101\n")
        _POLICY.chmod(0o755)
    try:
        output(
            *("apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *packages),
            env={"DEBIAN_FRONTEND": "noninteractive"},
        )
    finally:
        if ours:
            _POLICY.unlink()
