"""The page at `/`: what is in the storage space, to look at in a browser.

Static files only. What they show they ask of the services, as any other client does, so access is
decided there and nothing here has patient data. Every address in them is relative: the page works
behind whatever path prefix a proxy gives it.
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
"""Nothing from elsewhere, nothing inline, and no text is ever taken for markup."""

_HEADERS = browser_headers(_POLICY)


@dataclass(frozen=True, slots=True)
class File:
    """A file of the page, as it is sent."""

    content: bytes
    media_type: str
    entity_tag: str

    async def answer(self, request: Request) -> Response:
        """The file, or that the client has it."""
        headers = {**_HEADERS, "etag": self.entity_tag}
        if is_unchanged(request, self.entity_tag):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(self.content, headers=headers, media_type=self.media_type)


def routes(context: ServiceContext) -> Iterable[BaseRoute]:
    """Where the page and its files are."""
    return routes_of(page_files(has_viewer=context.viewer is not None))


def routes_of(page: dict[str, File]) -> Iterable[BaseRoute]:
    """Where these files are."""
    compressing = [Middleware(CompressionMiddleware, level=9)]
    for name, file in page.items():
        path = "/" if name == _INDEX else f"/{_FOLDER}/{name}"
        yield Route(path, file.answer, methods=["GET"], middleware=compressing)


def page_files(*, has_viewer: bool = False) -> dict[str, File]:
    """The page's files by name, from the package; with a viewer it links to that."""
    folder = files(__package__).joinpath(_FOLDER)
    contents = {each.name: each.read_bytes() for each in folder.iterdir()}
    if has_viewer:
        contents[_INDEX] = contents[_INDEX].replace(_WITHOUT_VIEWER, _WITH_VIEWER)
    return {name: _file(name, content) for name, content in contents.items()}


def _file(name: str, content: bytes) -> File:
    kind = guess_type(PurePath(name).name)[0] or "application/octet-stream"
    return File(content, kind, f'W/"{sha256(content).hexdigest()[:32]}"')
