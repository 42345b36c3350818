"""The site builds without a warning, and what the pages refer to exists."""

import importlib.util
import re
from pathlib import Path

import pytest

from harness import docs_site

ROOT = Path(__file__).parents[3]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("charts/*/README.md")]
)
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
PATH = re.compile(r"`((?:docs|charts|harness|tests|src|examples|ci)/[\w./-]+)`")


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.no_cover  # it starts a process
def test_the_site_builds_and_has_no_broken_link(tmp_path: Path) -> None:
    docs_site.build(tmp_path)
    pages = {page.stem for page in tmp_path.glob("*.html")} - {"404"}
    assert pages == {page.stem for page in (ROOT / "docs").glob("*.md")}
    assert 'class="mermaid"' in (tmp_path / "sequences.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_local_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    missing = []
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            missing.append(link)
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_is_named_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    chart = ROOT / "charts" / "dimse-ingestion"
    named = [path for path in PATH.findall(text) if not (ROOT / path).exists()]
    assert not [path for path in named if not (chart / path).exists()]


def test_every_module_that_architecture_names_exists() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    packages = text.partition("## Packages")[2].partition("## A store")[0]
    missing = []
    for row in re.findall(r"^\| `([\w.]+)` \| (.+) \|$", packages, re.MULTILINE):
        for name in re.findall(r"`([a-z][\w.]+)`", row[1]):
            dotted = name if "." in name else f"{row[0]}.{name}"
            if importlib.util.find_spec(f"dimse_ingestion.{dotted}") is None:
                missing.append(dotted)
    assert not missing


def test_another_file_than_the_pinned_package_is_refused() -> None:
    with pytest.raises(docs_site.NotThePackage, match="SHA-512"):
        docs_site.verified(b"something else", "sha512-AAAA")
