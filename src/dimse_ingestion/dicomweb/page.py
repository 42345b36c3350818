"""The web page at `/`, which shows the studies of the storage space in a browser.

Only static files. Their scripts get data from the DICOMweb services as any client does, so that
those authenticate users, and no file has patient data. All URLs in the files are relative, so that
the page works behind any path prefix of a proxy.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from importlib.resources import files
from mimetypes import guess_type
from pathlib import PurePath

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dimse_ingestion.dicomweb.http.browser_headers import browser_headers
from dimse_ingestion.dicomweb.http.conditional import is_unchanged
from dimse_ingestion.dicomweb.middleware.compression import CompressionMiddleware
from dimse_ingestion.dicomweb.routing import ServiceContext

_FOLDER = "page"
_INDEX = "index.html"
_WITHOUT_VIEWER = b'<html lang="en">'
_WITH_VIEWER = b'<html lang="en" data-viewer="viewer/viewer">'
_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' blob:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}
"""Content Security Policy: no other origins, nothing inline, no text parsed as markup."""

_HEADERS = browser_headers(_POLICY)


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file of the page, ready to be sent."""

    content: bytes
    media_type: str
    entity_tag: str

    async def respond(self, request: Request) -> Response:
        """Return the file, or 304 if the client has it."""
        headers = {**_HEADERS, "etag": self.entity_tag}
        if is_unchanged(request, self.entity_tag):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(self.content, headers=headers, media_type=self.media_type)


def routes(context: ServiceContext) -> Iterable[BaseRoute]:
    """Return the routes of the page and its files."""
    return routes_of(page_files(has_viewer=context.viewer is not None))


def routes_of(page: dict[str, PageFile]) -> Iterable[BaseRoute]:
    """Return the routes of these files."""
    compression = [Middleware(CompressionMiddleware, level=9)]
    for name, file in page.items():
        path = "/" if name == _INDEX else f"/{_FOLDER}/{name}"
        yield Route(path, file.respond, methods=["GET"], middleware=compression)


def page_files(*, has_viewer: bool = False) -> dict[str, PageFile]:
    """Return the page's files by name; with a viewer, the page links to it."""
    folder = files(__package__).joinpath(_FOLDER)
    contents = {each.name: each.read_bytes() for each in folder.iterdir()}
    if has_viewer:
        contents[_INDEX] = contents[_INDEX].replace(_WITHOUT_VIEWER, _WITH_VIEWER)
    return {name: _file(name, content) for name, content in contents.items()}


def _file(name: str, content: bytes) -> PageFile:
    kind = guess_type(PurePath(name).name)[0] or "application/octet-stream"
    return PageFile(content, kind, f'W/"{sha256(content).hexdigest()[:32]}"')
