"""What of the viewer's package is kept, and how its files are led to a path of their own.

The package is built to be served at `/`. Its scripts ask for their parts at addresses that begin
there, so those are changed on the way to the disk. Not for where the package comes from (`viewer`).
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
"""Where files name an address that begins at the root, by their suffix."""


class NotThePackage(Exception):
    """An archive that can't be the viewer's package; its message says why."""


def unpack(archive: Path, folder: Path) -> None:
    """Write the viewer's files into `folder`; nothing else of the archive, and nowhere else.

    Raises NotThePackage.
    """
    try:
        with tarfile.open(archive, "r:gz") as package:
            for entry in package:
                if name := kept(entry):
                    content = package.extractfile(entry)
                    assert content is not None  # noqa: S101 - only files are kept
                    _write(folder / name, led_below(name.suffix, content.read()))
    except (tarfile.TarError, EOFError) as trouble:
        raise NotThePackage(f"it can't be read as a tar archive ({trouble}).") from None
    if not (folder / "index.html").is_file():
        raise NotThePackage("it has no dist/index.html.")


def kept(entry: tarfile.TarInfo) -> PurePosixPath | None:
    """A file's path below the viewer's folder; None when it is none of the viewer's.

    Raises NotThePackage for what no npm package has: links, devices, and ways out of a folder.
    """
    path = PurePosixPath(entry.name)
    if path.is_absolute() or ".." in path.parts:
        raise NotThePackage(f"{entry.name!r} in it leads elsewhere.")
    if not (entry.isreg() or entry.isdir()):
        raise NotThePackage(f"{entry.name!r} in it is neither a file nor a folder.")
    is_viewers = entry.isreg() and path != _FILES and path.is_relative_to(_FILES)
    return path.relative_to(_FILES) if is_viewers else None


def led_below(suffix: str, content: bytes) -> bytes:
    """A file's content with addresses that begin at `/viewer/` where they began at `/`."""
    pattern = _AT_ROOT.get(suffix)
    return re.sub(pattern, _BELOW, content) if pattern else content


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
