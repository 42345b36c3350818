"""The OHIF viewer from its npm package: downloaded once, verified, stored beside the data.

One version, named by its digest: an archive from a registry or a person is that, or it is refused.
The package is built to be served at `/`: its scripts load their parts by URLs that begin there, so
those are changed while unpacking. `dicomweb.viewer` serves the files.
"""

import asyncio
import re
import tarfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import httpx2

from dimse_ingestion.observability.logging import logger
from dimse_ingestion.settings import ConfigurationMistake

_LOG = logger(__name__)
_LAYOUT = 1  # of the unpacked files: another number has them unpacked again
_LONGEST_SILENCE = 30.0
_PROGRESS_STEP = 10  # per cent
_MEGABYTE = 1_000_000
_AS_IT_IS = {"accept-encoding": "identity"}
_FILES = PurePosixPath("package/dist")
_BELOW = rb"\g<before>/viewer/"
_AT_ROOT = {
    ".html": rb'(?P<before>=")/',
    ".css": rb"(?P<before>url\()/",
    ".js": rb"""(?P<before>__webpack_require__\.p = "|['"](?=/dicom-microscopy-viewer/))/""",
    ".json": rb'(?P<before>")/(?=assets/)',
    ".xml": rb'(?P<before>")/(?=assets/)',
}
"""Patterns of URLs in files that begin at the root, by suffix."""


@dataclass(frozen=True, slots=True)
class Package:
    """A version of an npm package."""

    name: str
    version: str
    size: int
    sha512: str

    @property
    def archive(self) -> str:
        """The file's name, as `npm pack` gives it."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"

    def address(self, registry: str) -> str:
        """Return the file's URL at a registry."""
        last = self.name.rpartition("/")[2]
        return f"{registry.rstrip('/')}/{self.name}/-/{last}-{self.version}.tgz"


OHIF = Package(
    name="@ohif/app",
    version="3.13.2",
    size=49_906_651,
    sha512=(
        "5997719a9986eeba85816f5924b71b82bdd70ad2e2d4a0cd3e831a798e4f3dee"
        "a3e06e1f8c48e393271933a0ba664d85f3b04ac457e9abe8dde715d907d13c10"
    ),
)


async def fetch_viewer(folder: Path, registry: str, package: Package = OHIF) -> Path:
    """Return the folder of the viewer's files in `folder`, downloading the package if necessary.

    Raises ConfigurationMistake, with what to do, when it isn't available.
    """
    unpacked = folder / f"{package.archive.removesuffix('.tgz')}-layout-{_LAYOUT}"
    if unpacked.is_dir():
        return unpacked
    try:
        with _temporary_folder(folder) as work:
            archive = await _archive(folder, work, registry, package)
            await asyncio.to_thread(unpack, archive, work / "files")
            _move(work / "files", unpacked)
    except OSError as error:
        raise _mistake(f"{folder} can't be used: {error.strerror or error}.") from None
    except NotThePackage as error:
        raise _mistake(f"{package.archive} is refused: {error}") from None
    _LOG.info("The viewer is unpacked.", folder=str(unpacked))
    return unpacked


@contextmanager
def _temporary_folder(folder: Path) -> Iterator[Path]:
    """Create a temporary folder in `folder`, deleted after the block."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="unpacking-", dir=folder) as work:
        yield Path(work)


def _move(files: Path, unpacked: Path) -> None:
    """Move the files in one step; where another process was first, its files are as good."""
    try:
        files.rename(unpacked)
    except OSError:
        if not unpacked.is_dir():
            raise


async def _archive(folder: Path, work: Path, registry: str, package: Package) -> Path:
    """Return the package's file: one that was put into `folder`, else downloaded into `work`."""
    given = folder / package.archive
    if given.exists():
        return await _verify(given, package, f"Remove {given}, or get it anew.")
    archive = work / package.archive
    await _download(package, registry, archive, folder)
    return await _verify(archive, package, f"It came from {_without_password(registry)}.")


async def _verify(archive: Path, package: Package, advice: str) -> Path:
    if await asyncio.to_thread(_sha512, archive) != package.sha512:
        raise _mistake(
            f"{package.archive} is refused: its SHA-512 is not that of {package.name} "
            f"{package.version}. {advice}"
        )
    return archive


def _sha512(archive: Path) -> str:
    with archive.open("rb") as content:
        return file_digest(content, "sha512").hexdigest()


async def _download(package: Package, registry: str, archive: Path, folder: Path) -> None:
    address = package.address(registry)
    megabytes = round(package.size / _MEGABYTE)
    _LOG.info(
        "Downloading the viewer, once.", address=_without_password(address), megabytes=megabytes
    )
    try:
        async with _answer(address) as chunks:
            await _write(chunks, archive, package.size)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise _mistake(
            f"{_without_password(address)} can't be downloaded: {_reason(error)}. Set "
            f"NPM_CONFIG_REGISTRY to a registry that this machine reaches; or run "
            f"`npm pack {package.name}@{package.version}` where there is one, and put "
            f"{package.archive} into {folder}."
        ) from None


@asynccontextmanager
async def _answer(address: str) -> AsyncIterator[AsyncIterator[bytes]]:
    async with (
        httpx2.AsyncClient(timeout=_LONGEST_SILENCE, follow_redirects=True) as client,
        client.stream("GET", address, headers=_AS_IT_IS) as answer,
    ):
        answer.raise_for_status()
        yield answer.aiter_bytes()


async def _write(chunks: AsyncIterator[bytes], archive: Path, size: int) -> None:
    """Write the chunks, at most one beyond `size`, and log the progress."""
    written, logged = 0, 0
    with archive.open("wb") as file:
        async for chunk in chunks:
            written += file.write(chunk)
            if written > size:
                return  # too long: the digest will differ
            percent = 100 * written // size
            if percent >= logged + _PROGRESS_STEP:
                logged = percent
                _LOG.info("Downloading the viewer.", percent=percent)


def _reason(error: Exception) -> str:
    if isinstance(error, httpx2.HTTPStatusError):
        return f"it answered {error.response.status_code}"
    return str(error).rstrip(".") or type(error).__name__


def _without_password(address: str) -> str:
    """Return the URL without the password that it may contain."""
    scheme, separator, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def _mistake(sentence: str) -> ConfigurationMistake:
    return ConfigurationMistake([f"--viewer: {sentence}"])


class NotThePackage(Exception):
    """The archive can't be the viewer's package; the message says why."""


def unpack(archive: Path, folder: Path) -> None:
    """Write the viewer's files into `folder`, and no other entries of the archive.

    Raises NotThePackage.
    """
    try:
        with tarfile.open(archive, "r:gz") as package:
            for entry in package:
                if name := viewer_path(entry):
                    content = package.extractfile(entry)
                    assert content is not None  # noqa: S101 - only regular files have a viewer path
                    _write_file(folder / name, rebase_addresses(name.suffix, content.read()))
    except (tarfile.TarError, EOFError) as error:
        raise NotThePackage(f"it can't be read as a tar archive ({error}).") from None
    if not (folder / "index.html").is_file():
        raise NotThePackage("it has no dist/index.html.")


def viewer_path(entry: tarfile.TarInfo) -> PurePosixPath | None:
    """Return a file's path below the viewer's folder, or None when it is none of the viewer's.

    Raises NotThePackage for entries that no npm package has: links, devices, paths that leave it.
    """
    path = PurePosixPath(entry.name)
    if path.is_absolute() or ".." in path.parts:
        raise NotThePackage(f"{entry.name!r} in it leads elsewhere.")
    if not (entry.isreg() or entry.isdir()):
        raise NotThePackage(f"{entry.name!r} in it is neither a file nor a folder.")
    is_viewers = entry.isreg() and path != _FILES and path.is_relative_to(_FILES)
    return path.relative_to(_FILES) if is_viewers else None


def rebase_addresses(suffix: str, content: bytes) -> bytes:
    """Return the content with URLs that began at `/` beginning at `/viewer/`."""
    pattern = _AT_ROOT.get(suffix)
    return re.sub(pattern, _BELOW, content) if pattern else content


def _write_file(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
