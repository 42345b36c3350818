"""kind, helm and kubectl: found, built or downloaded, so that users need not install them."""

import hashlib
import os
import platform
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal
from urllib.error import URLError
from urllib.request import urlopen

from harness import registries
from harness.airgap import pins
from harness.airgap.cache import cache
from harness.airgap.progress import Progress
from harness.commands import Say, Unusable, print_line

Tool = Literal["kind", "helm", "kubectl"]

_DOWNLOADED = Path(__file__).parent.parent / ".tools" / "bin"
_LONGEST_DOWNLOAD = 300.0


@dataclass(frozen=True)
class Download:
    """The address of a program's release; `checksum` is the address of its SHA-256."""

    url: str
    checksum: str
    member: str = ""

    def fetch(self) -> bytes:
        """Return the program. Raises Unusable if it isn't reached or its checksum differs."""
        content, checksum = _read(self.url), _read(self.checksum).decode().split()[0]
        if hashlib.sha256(content).hexdigest() != checksum:
            raise Unusable(
                f"{self.url} has another digest than in {self.checksum}: download it again"
            )
        return _member(content, self.member) if self.member else content


def downloads(system: str, machine: str) -> Mapping[Tool, Download]:
    """Return the releases of the pinned versions for `system` (linux) and `machine` (amd64)."""
    kind = f"https://kind.sigs.k8s.io/dl/{pins.KIND}/kind-{system}-{machine}"
    helm = f"https://get.helm.sh/helm-{pins.HELM}-{system}-{machine}.tar.gz"
    kubectl = f"https://dl.k8s.io/release/{pins.KUBERNETES}/bin/{system}/{machine}/kubectl"
    return {
        "kind": Download(kind, f"{kind}.sha256sum"),
        "helm": Download(helm, f"{helm}.sha256sum", f"{system}-{machine}/helm"),
        "kubectl": Download(kubectl, f"{kubectl}.sha256"),
    }


def tool(name: Tool, say: Say) -> Path:
    """Return the program: on PATH, in a folder of ours, downloaded, or built."""
    if match := installed_tool(name):
        return match
    if registries.reached():
        return _downloaded(name, say)
    from harness.airgap import building

    return building.program(name, say)


def installed_tool(name: Tool) -> Path | None:
    """Return the path of the installed program, or None."""
    places = [str(cache().programs), str(_DOWNLOADED), os.environ.get("PATH", "")]
    match = shutil.which(name, path=os.pathsep.join(places))
    return Path(match) if match else None


def _downloaded(name: Tool, say: Say) -> Path:
    wanted = downloads(platform.system().lower(), _architecture())[name]
    _DOWNLOADED.mkdir(parents=True, exist_ok=True)
    program = _DOWNLOADED / name
    with Progress(1, say).step(f"downloading {wanted.url}"):
        program.write_bytes(wanted.fetch())
    program.chmod(0o755)
    return program


def _architecture() -> str:
    names = {"x86_64": "amd64", "aarch64": "arm64"}
    return names.get(platform.machine(), platform.machine())


def _read(url: str) -> bytes:
    try:
        with urlopen(url, timeout=_LONGEST_DOWNLOAD) as answer:
            return bytes(answer.read())
    except (URLError, OSError) as error:
        raise Unusable(f"{url} is not reached ({error}): download it and put it on PATH") from None


def _member(archive: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=BytesIO(archive)) as packed:
        content = packed.extractfile(name)
        assert content is not None
        return content.read()


if __name__ == "__main__":
    print_line(str(tool("helm", print_line)))
