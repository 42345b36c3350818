"""`python -m harness.docs_site`: the site of docs/, with Mermaid beside it.

MkDocs builds with --strict, so that a broken link or a page without a place in the navigation is
an error. Material for MkDocs would load Mermaid from a public host; the site has its own copy,
one pinned version of the npm package, so that it can be read where no other host is reached.
"""

import base64
import hashlib
import os
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from harness.airgap.cache import cache

ROOT = Path(__file__).parent.parent
SITE = ROOT / "build" / "site"
MERMAID = "11.9.0"
_INTEGRITY = (
    "sha512-YdPXn9slEwO0omQfQIsW6vS84weVQftIyyTGAZCwM//M"
    "GhPzL1+l6vO6bkf0wnP4tHigH1alZ5Ooy3HXI2gOag=="
)
_MEMBER = "package/dist/mermaid.min.js"
_IN_SITE = "javascripts/mermaid.min.js"
_LONGEST_DOWNLOAD = 120.0
_ENVIRONMENT = {"NO_MKDOCS_2_WARNING": "1"}  # a banner of the theme's, in each build


class NotThePackage(Exception):
    """The registry gave another file than the pinned version."""


def build(site: Path) -> None:
    """Build the site into `site`; raises CalledProcessError for a broken link or page."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--clean", "--quiet"]
    subprocess.run(
        [*command, "--site-dir", str(site)],
        cwd=ROOT,
        env=os.environ | _ENVIRONMENT,
        check=True,
    )


def add_mermaid(site: Path) -> None:
    """Put Mermaid into a site that is built.

    Raises URLError when it was never downloaded and no registry is reached, NotThePackage when
    the file has another digest.
    """
    remaining = cache().root / f"mermaid-{MERMAID}.min.js"
    if not remaining.exists():
        remaining.parent.mkdir(parents=True, exist_ok=True)
        remaining.write_bytes(_mermaid())
    target = site / _IN_SITE
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(remaining.read_bytes())


def verified(package: bytes, integrity: str) -> bytes:
    """Return the package when its SHA-512 is the one named, as npm writes it."""
    digest = base64.b64encode(hashlib.sha512(package).digest()).decode()
    if f"sha512-{digest}" != integrity:
        raise NotThePackage(f"mermaid-{MERMAID}.tgz has the wrong SHA-512: download it again.")
    return package


def _mermaid() -> bytes:
    registry = os.environ.get("NPM_CONFIG_REGISTRY", "https://registry.npmjs.org").rstrip("/")
    address = f"{registry}/mermaid/-/mermaid-{MERMAID}.tgz"
    with urlopen(address, timeout=_LONGEST_DOWNLOAD) as answer:
        package = verified(answer.read(), _INTEGRITY)
    with tarfile.open(fileobj=BytesIO(package), mode="r:gz") as archive:
        member = archive.extractfile(_MEMBER)
        assert member is not None, f"{_MEMBER} is not in mermaid {MERMAID}"
        return member.read()


def main() -> int:
    """Build the site and print its first page; returns the exit status."""
    try:
        build(SITE)
    except subprocess.CalledProcessError as error:
        return error.returncode
    try:
        add_mermaid(SITE)
    except (URLError, NotThePackage) as error:
        sys.stderr.write(f"The site has no diagrams without Mermaid {MERMAID}: {error}\n")
        return 1
    sys.stdout.write(f"{SITE / 'index.html'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
