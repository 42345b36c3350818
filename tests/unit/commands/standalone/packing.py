"""A small npm package of a viewer, and a registry that has it."""

import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha512
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from pathlib import Path

from dimse_ingestion.commands.standalone.viewer import Package
from tests.http_server import served

FILES = {
    "package/package.json": b"{}",
    "package/dist/index.html": b'<script src="/app.js"></script>',
    "package/dist/app.js": b'__webpack_require__.p = "/";',
    "package/dist/assets/codec.wasm": b"\0asm",
}


def packed(files: Mapping[str, bytes], *others: tarfile.TarInfo) -> bytes:
    """Return an archive of these files, and of entries without content."""
    out = BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, BytesIO(content))
        for other in others:
            archive.addfile(other)
    return out.getvalue()


def package_of(archive: bytes) -> Package:
    """Return the package that this archive is."""
    return Package("@ohif/app", "1.2.3", len(archive), sha512(archive).hexdigest())


@contextmanager
def registry(archives: Mapping[str, bytes | Path]) -> Iterator[str]:
    """Yield the address of a registry that has these archives, by their paths."""

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            match = archives.get(self.path)
            body = match.read_bytes() if isinstance(match, Path) else match or b""
            self.send_response(404 if match is None else 200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with served(Registry) as address:
        yield address
