import tarfile
from pathlib import Path

import pytest

from dimse_ingestion.commands.standalone.package_files import (
    NotThePackage,
    rebase_addresses,
    unpack,
)
from tests.unit.commands.standalone.packing import FILES, packed


def unpacked(folder: Path, archive: bytes) -> dict[str, bytes]:
    (folder / "package.tgz").write_bytes(archive)
    out = folder / "out"
    unpack(folder / "package.tgz", out)
    return {str(each.relative_to(out)): each.read_bytes() for each in out.rglob("*.*")}


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, to
    return entry


def test_only_the_viewers_files_are_kept_and_led_below_their_path(tmp_path: Path) -> None:
    assert unpacked(tmp_path, packed(FILES)) == {
        "index.html": b'<script src="/viewer/app.js"></script>',
        "app.js": b'__webpack_require__.p = "/viewer/";',
        "assets/codec.wasm": b"\0asm",
    }


@pytest.mark.parametrize(
    "name", ["package/dist/../../evil", "../evil", "/tmp/evil", "package/dist/a/../../../../evil"]
)
def test_what_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotThePackage, match="leads elsewhere"):
        unpacked(tmp_path, packed({**FILES, name: b"evil"}))
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    with pytest.raises(NotThePackage, match="neither a file nor a folder"):
        unpacked(tmp_path, packed(FILES, link("package/dist/passwords", "/etc/passwd", kind)))


@pytest.mark.parametrize(
    "archive",
    [b"", b"no archive", packed(FILES)[:-30], packed({"package/index.html": b"", "x/y": b""})],
    ids=["empty", "none", "cut", "other"],  # not by content: gzip writes the time into it
)
def test_what_is_no_viewer_is_refused(tmp_path: Path, archive: bytes) -> None:
    with pytest.raises(NotThePackage):
        unpacked(tmp_path, archive)


@pytest.mark.parametrize(
    ("suffix", "before", "after"),
    [
        (".html", b'window.PUBLIC_URL="/"', b'window.PUBLIC_URL="/viewer/"'),
        (".html", b'content="/assets/a.png"', b'content="/viewer/assets/a.png"'),
        (".html", b'href="https://x.example/"', b'href="https://x.example/"'),
        (".css", b"url(/a.woff2)", b"url(/viewer/a.woff2)"),
        (".css", b"url(data:a/b)", b"url(data:a/b)"),
        (
            ".js",
            b"import('/dicom-microscopy-viewer/x')",
            b"import('/viewer/dicom-microscopy-viewer/x')",
        ),
        (".js", b'split("/")', b'split("/")'),
        (".json", b'"src": "/assets/a.png"', b'"src": "/viewer/assets/a.png"'),
        (".wasm", b'="/', b'="/'),
    ],
)
def test_addresses_that_begin_at_the_root_are_led_below(
    suffix: str, before: bytes, after: bytes
) -> None:
    assert rebase_addresses(suffix, before) == after
