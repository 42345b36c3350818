"""Unpacking of the viewer's package, with its files moved to a path of their own.

The package is built to be served at `/`. Its scripts load their parts by URLs that begin there, so
those are changed while unpacking. The package's download is in `viewer`.
"""

import re
import tarfile
from pathlib import Path, PurePosixPath

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
                    _write(folder / name, rebase_addresses(name.suffix, content.read()))
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


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
