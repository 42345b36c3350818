import asyncio
import tarfile
from pathlib import Path

import pytest

from dimse_ingestion.commands.standalone.viewer import (
    OHIF,
    NotThePackage,
    fetch_viewer,
    rebase_addresses,
    unpack,
)
from dimse_ingestion.settings import ConfigurationMistake
from tests.unit.commands.standalone.packing import FILES, package_of, packed, registry

ARCHIVE = packed(FILES)
PACKAGE = package_of(ARCHIVE)
ADDRESS = "/@ohif/app/-/app-1.2.3.tgz"
NOWHERE = "http://127.0.0.1:9"  # discard: nobody listens


def test_the_registrys_address_is_that_of_npm() -> None:
    output = OHIF.address("https://registry.example/npm/")
    assert output == f"https://registry.example/npm/@ohif/app/-/app-{OHIF.version}.tgz"
    assert OHIF.archive == f"ohif-app-{OHIF.version}.tgz"


async def test_it_is_downloaded_once(tmp_path: Path) -> None:
    with registry({ADDRESS: ARCHIVE}) as address:
        files = await fetch_viewer(tmp_path / "viewer", address, PACKAGE)
    assert (files / "index.html").read_bytes() == b'<script src="/viewer/app.js"></script>'
    assert list((tmp_path / "viewer").iterdir()) == [files]
    assert await fetch_viewer(tmp_path / "viewer", NOWHERE, PACKAGE) == files


async def test_a_file_that_was_put_there_is_taken(tmp_path: Path) -> None:
    (tmp_path / PACKAGE.archive).write_bytes(ARCHIVE)
    files = await fetch_viewer(tmp_path, NOWHERE, PACKAGE)
    assert (files / "assets" / "codec.wasm").read_bytes() == b"\0asm"


def folders_in(folder: Path) -> list[Path]:
    return [each for each in folder.iterdir() if each.is_dir()]


async def refused(folder: Path, address: str) -> str:
    with pytest.raises(ConfigurationMistake) as mistake:
        await fetch_viewer(folder, address, PACKAGE)
    assert folders_in(folder) == []
    (sentence,) = mistake.value.sentences
    assert sentence.startswith("--viewer: ")
    return sentence


@pytest.mark.parametrize(
    "content",
    [b"", ARCHIVE[:-1], packed({**FILES, "package/dist/x.js": b""}), ARCHIVE * 2],
    ids=["empty", "cut", "other", "doubled"],  # not by content: gzip writes the time into it
)
async def test_another_content_is_refused(tmp_path: Path, content: bytes) -> None:
    with registry({ADDRESS: content}) as address:
        sentence = await refused(tmp_path, address)
        assert "SHA-512" in sentence
        assert address in sentence
    (tmp_path / PACKAGE.archive).write_bytes(content)
    assert f"Remove {tmp_path / PACKAGE.archive}" in await refused(tmp_path, NOWHERE)


async def test_without_a_registry_an_error_says_what_to_do(tmp_path: Path) -> None:
    sentence = await refused(tmp_path, NOWHERE.replace("//", "//jane:secret@"))
    assert f"{NOWHERE}{ADDRESS} can't be downloaded" in sentence
    assert "NPM_CONFIG_REGISTRY" in sentence
    assert "npm pack @ohif/app@1.2.3" in sentence
    assert f"put {PACKAGE.archive} into {tmp_path}" in sentence
    with registry({}) as address:
        assert "it answered 404" in await refused(tmp_path, address)
    assert "can't be downloaded" in await refused(tmp_path, "no address")


async def test_a_folder_that_cannot_be_used_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationMistake, match="can't be used"):
        await fetch_viewer(tmp_path / "file" / "viewer", NOWHERE, PACKAGE)


async def test_two_that_start_at_once_have_the_same(tmp_path: Path) -> None:
    with registry({ADDRESS: ARCHIVE}) as address:
        both = await asyncio.gather(*(fetch_viewer(tmp_path, address, PACKAGE) for _ in range(2)))
    assert both[0] == both[1]
    assert folders_in(tmp_path) == [both[0]]


def unpacked(folder: Path, archive: bytes) -> dict[str, bytes]:
    (folder / "package.tgz").write_bytes(archive)
    out = folder / "out"
    unpack(folder / "package.tgz", out)
    return {str(each.relative_to(out)): each.read_bytes() for each in out.rglob("*.*")}


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, to
    return entry


def test_only_the_viewers_files_are_unpacked_and_below_their_path(tmp_path: Path) -> None:
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
