"""Container images for tests: the product's own, and those of the addons.

The product's is tagged by its content, so that an unchanged tree isn't built again. The others are
the official ones where registries are reached, else made by harness.airgap or here, of packages
alone. `python -m harness.images` is `make image`.
"""

import hashlib
import os
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness import bill_of_materials, registries
from harness.airgap import building, images, pins
from harness.airgap.progress import Progress
from harness.commands import Say, Unusable, output, print_line, succeeds

if TYPE_CHECKING:
    from harness.cluster import Cluster

ThirdParty = Literal["nats", "minio", "postgresql"]

NAME = "dimse-ingestion"
EXTRAS = "pixels"
OPERATOR_EXTRAS = "operator"
PRODUCTS = (EXTRAS, OPERATOR_EXTRAS)
"""The extras of each image that the product consists of."""
OFFICIAL_BASE = "python:3.11-slim-bookworm"
OFFICIAL: Mapping[ThirdParty, str] = {
    "nats": pins.NATS_IMAGE,
    "minio": "minio/minio:RELEASE.2025-09-07T16-13-09Z",
    "postgresql": "postgres:15.15-bookworm",
}
"""Pulled where registries are reached; of the versions that the airgap builds."""

BUILT: Mapping[ThirdParty, str] = {
    "nats": pins.NATS_IMAGE,
    "minio": pins.MINIO_IMAGE,
    "postgresql": f"airgap/postgresql:15-{pins.DEBIAN}",
}
"""Used elsewhere."""

CONTEXT = (
    "Dockerfile",
    ".dockerignore",
    "pyproject.toml",
    "uv.lock",
    "README.md",
    "LICENSE",
    "src",
    "charts/dimse-ingestion",
)
"""All that the product's image is made of."""

_PROJECT = Path(__file__).parent.parent
_AUTHORITY = "build-ca.pem"
_AUTHORITIES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
_LONGEST_BUILD = 1800.0
_POSTGRESQL = (
    f"FROM {pins.DEBIAN_IMAGE}",
    # the official image's user, so that one manifest suits both; no cluster is made while building
    "RUN groupadd -g 999 postgres && useradd -u 999 -g 999 -d /var/lib/postgresql postgres",
    (
        "RUN mkdir -p /etc/postgresql-common"
        " && echo create_main_cluster = false > /etc/postgresql-common/createcluster.conf"
        " && apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql-15"
        " && rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb"
    ),
)


@dataclass(frozen=True)
class Build:
    """The source of the product's image: the tree in `folder`, a copy that does not change.

    `extras` are the project's: with `pixels` DICOMweb renders and decodes, with
    `operator` it is the operator's image.
    """

    folder: Path
    base: str
    extras: str = EXTRAS

    @property
    def version(self) -> str:
        """The product's version."""
        described = tomllib.loads((self.folder / "pyproject.toml").read_text())
        return str(described["project"]["version"])

    @property
    def image(self) -> str:
        """The reference; its tag has the version and a digest of all that goes into it."""
        digest = hashlib.sha256(f"{self.base}\0{self.extras}\0".encode())
        for path in files(self.folder):
            digest.update(f"{path.relative_to(self.folder)}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return f"{self.name}:{self.version}-{digest.hexdigest()[:12]}"

    @property
    def name(self) -> str:
        """The image's name: the operator's is another."""
        return f"{NAME}-operator" if "operator" in self.extras.split() else NAME

    def arguments(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the build's arguments: this machine's package mirrors."""
        pip = environment.get("PIP_INDEX_URL", "")
        uv = environment.get("UV_DEFAULT_INDEX") or environment.get("UV_INDEX_URL") or pip
        chosen = {"PIP_INDEX_URL": pip or uv, "UV_DEFAULT_INDEX": uv}
        proxies = {name: environment.get(name, "") for name in _PROXIES}
        described = {"BASE": self.base, "EXTRAS": self.extras, "VERSION": self.version}
        return described | {name: text for name, text in (chosen | proxies).items() if text}


def files(tree: Path) -> list[Path]:
    """Return every file of a tree that goes into the image, in order."""
    roots = [tree / name for name in CONTEXT]
    every = [path for root in roots for path in (root.rglob("*") if root.is_dir() else [root])]
    return sorted(path for path in every if path.is_file() and "__pycache__" not in path.parts)


@contextmanager
def snapshot(tree: Path = _PROJECT) -> Iterator[Path]:
    """Yield a copy of those files: edits meanwhile do not change the build."""
    with tempfile.TemporaryDirectory(prefix="image-") as made:
        for path in files(tree):
            target = Path(made) / path.relative_to(tree)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        yield Path(made)


def product_image(
    say: Say = print_line, base: str = "", extras: str = EXTRAS, *, anew: bool = False
) -> str:
    """Build the product's image unless it exists for this very tree; return its reference.

    The version alone is a tag of it, too. Raises Unusable with the builder's last words.
    """
    with snapshot() as folder:
        build = Build(folder, base or _base(say), extras)
        image, version = build.image, f"{build.name}:{build.version}"
        if anew or not images.exists(image):
            with Progress(1, say).step(f"building {image} on {build.base}"):
                _built(build, anew)
            _without_predecessors(build)
    output("docker", "tag", image, version)
    return image


def _without_predecessors(build: Build) -> None:
    """Delete images with older tags, which together fill a disk; one that is in use stays."""
    every = output("docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", build.name)
    for image in every.split():
        if image.startswith(f"{build.name}:{build.version}-") and image != build.image:
            succeeds("docker", "image", "rm", image)


def third_party(name: ThirdParty, say: Say = print_line) -> str:
    """Return an image that the engine has now; pulled or built unless it was there."""
    if registries.reached():
        image = OFFICIAL[name]
        if not images.exists(image):
            with Progress(1, say).step(f"pulling {image}"):
                output("docker", "pull", "--quiet", image)
        return image
    image = BUILT[name]
    if not images.exists(image):
        building.ready(say)
    if not images.exists(image):
        with Progress(1, say).step(f"building {image}"):
            _built_of_lines(image, _POSTGRESQL)
    return image


def in_cluster(cluster: "Cluster", name: ThirdParty) -> str:
    """Return an image that the nodes have, or, in another's cluster, pull by themselves."""
    if not cluster.name:
        return OFFICIAL[name]
    image = third_party(name)
    cluster.load(image)
    return image


def authority(environment: Mapping[str, str]) -> Path | None:
    """Return the CA bundle that this machine's package mirror is trusted by, if one is named."""
    named = (Path(environment[name]) for name in _AUTHORITIES if environment.get(name))
    return next((path for path in named if path.is_file()), None)


def _base(say: Say) -> str:
    if registries.reached():
        return OFFICIAL_BASE
    return building.debian(say)


def _built(build: Build, anew: bool) -> None:
    arguments = build.arguments(os.environ) | {"REVISION": _revision()}
    described = [f"--build-arg={name}={text}" for name, text in arguments.items()]
    image = build.image
    if trusted := authority(os.environ):
        shutil.copyfile(trusted, build.folder / _AUTHORITY)
    _docker_build(*described, *(["--no-cache"] if anew else []), f"--tag={image}", build.folder)


def _built_of_lines(image: str, lines: tuple[str, ...]) -> None:
    with tempfile.TemporaryDirectory(prefix="image-") as folder:
        (Path(folder) / "Dockerfile").write_text("\n".join(lines) + "\n")
        _docker_build(f"--tag={image}", folder)


def _docker_build(*arguments: str | Path) -> None:
    """Build; without registries by the classic builder, which needs none for a local base."""
    alone = {} if registries.reached() else {"DOCKER_BUILDKIT": "0"}
    network = [] if registries.reached() else ["--network=host"]
    output("docker", "build", *network, *arguments, env=alone, seconds=_LONGEST_BUILD)


def _revision() -> str:
    """Return the commit of the tree, where git knows it."""
    described = ("git", "-C", _PROJECT, "rev-parse", "HEAD")
    return output(*described).strip() if succeeds(*described) else ""


def main(
    base: Annotated[str, typer.Option(help="The image to build upon.")] = "",
    extras: Annotated[str, typer.Option(help="Extras of the project, by blanks.")] = EXTRAS,
    anew: Annotated[
        bool, typer.Option("--anew", help="Build without the builder's cache.")
    ] = False,
) -> None:
    """Build the product's image."""
    try:
        image = product_image(print_line, base, extras, anew=anew)
        bill = bill_of_materials.write(image.partition(":")[0], extras)
        typer.echo(f"its bill of materials: {bill.relative_to(_PROJECT)}\n{image}")
    except Unusable as error:
        typer.echo(str(error), err=True)
        sys.exit(1)


if __name__ == "__main__":
    typer.run(main)
