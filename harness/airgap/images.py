"""Images made without a registry: of root folders, and of one program upon another image."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.airgap import pins
from harness.airgap.cache import Cache
from harness.commands import output, succeeds

BASE_PACKAGES = ("iptables", "conntrack", "ca-certificates", "python3", "python3-venv")
"""What is in the Debian image: kube-proxy's tools, and what the product's image is built upon."""

_PUBLIC_MIRROR = "http://deb.debian.org/debian"
_LONGEST_BOOTSTRAP = 1800.0


def exists(image: str) -> bool:
    """Return whether the engine has the image."""
    return succeeds("docker", "image", "inspect", image)


@contextmanager
def root_folder(cache: Cache, packages: Sequence[str]) -> Iterator[Path]:
    """Yield a small Debian with these packages, until the end of the block."""
    (archives := cache.root / "debs").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="root-", dir=cache.root) as folder:
        Path(folder).chmod(0o755)
        output(
            *("debootstrap", "--variant=minbase", f"--cache-dir={archives}"),
            *(f"--include={','.join(packages)}", pins.DEBIAN, folder, mirror()),
            seconds=_LONGEST_BOOTSTRAP,
        )
        yield Path(folder)


def mirror() -> str:
    """Return Debian's mirror: $AIRGAP_DEBIAN_MIRROR, or the one that apt uses."""
    if chosen := os.environ.get("AIRGAP_DEBIAN_MIRROR"):
        return chosen
    wanted = ("$(SITE)", "Created-By: Packages", f"Codename: {pins.DEBIAN}")
    sites = output("apt-get", "indextargets", "--format", *wanted).split()
    return sites[0] if sites else _PUBLIC_MIRROR


def import_root(folder: Path, image: str) -> None:
    """Make an image of a root folder."""
    for archive in (folder / "var/cache/apt/archives").glob("*.deb"):
        archive.unlink()
    shutil.rmtree(folder / "var/lib/apt/lists", ignore_errors=True)
    output("sh", "-c", 'set -e; tar -C "$0" -c . | docker import - "$1"', str(folder), image)


def debian(cache: Cache) -> None:
    """Make the Debian image unless it exists."""
    if not exists(pins.DEBIAN_IMAGE):
        with root_folder(cache, BASE_PACKAGES) as folder:
            import_root(folder, pins.DEBIAN_IMAGE)


def build(image: str, lines: Sequence[str], programs: Sequence[Path] = ()) -> None:
    """Make an image by a Dockerfile of these lines, the programs lying beside it."""
    with tempfile.TemporaryDirectory(prefix="image-") as folder:
        for program in programs:
            shutil.copy(program, folder)
        (Path(folder) / "Dockerfile").write_text("\n".join(lines) + "\n")
        output("docker", "build", "--quiet", "--tag", image, folder, env={"DOCKER_BUILDKIT": "0"})


def of_program(image: str, program: Path, base: str = "scratch") -> None:
    """Make an image that runs one program, unless it exists."""
    if not exists(image):
        place = f"/usr/local/bin/{program.name}"
        build(
            image,
            [f"FROM {base}", f"COPY {program.name} {place}", f'ENTRYPOINT ["{place}"]'],
            [program],
        )
