import asyncio
from pathlib import Path

import pytest

from dimse_ingestion.commands.standalone.viewer import OHIF, fetch_viewer
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
