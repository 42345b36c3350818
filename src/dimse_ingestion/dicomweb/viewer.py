"""The viewer at `/viewer/`, if one is configured: the files of OHIF with our configuration.

Only static files, as for the page: they use the services as any client does. A path without a file
is a route within the viewer, so the response is the viewer's index. Where the files come from is
not known here.
"""

from collections.abc import Iterable
from http import HTTPStatus
from importlib.resources import files
from mimetypes import MimeTypes
from pathlib import Path, PurePosixPath

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.staticfiles import StaticFiles

from dimse_ingestion.dicomweb.http.browser_headers import browser_headers
from dimse_ingestion.dicomweb.routing import ServiceContext

_INDEX = "index.html"
_CONFIGURATION = files(__package__).joinpath("viewer", "app-config.js")
_TYPES = MimeTypes()
_TYPES.add_type("text/javascript", ".js")
_TYPES.add_type("text/javascript", ".mjs")
_TYPES.add_type("application/wasm", ".wasm")
_TYPES.add_type("font/woff2", ".woff2")
_TYPES.add_type("application/json", ".map")
_POLICY = {
    "default-src": "'self'",
    "script-src": "'self' 'unsafe-inline' 'unsafe-eval'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' blob: data:",
    "font-src": "'self' data:",
    "connect-src": "'self' blob: data:",
    "worker-src": "'self' blob:",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
"""Less strict than the page's, since OHIF needs it, but no connection to other origins."""

_HEADERS = browser_headers(_POLICY)


def routes(context: ServiceContext) -> Iterable[BaseRoute]:
    """Return the routes of the viewer; none if no viewer is configured."""
    return routes_of(context.viewer) if context.viewer else ()


def routes_of(folder: Path) -> Iterable[BaseRoute]:
    """Return the routes of the viewer in this folder."""
    static = StaticFiles(directory=folder)

    async def file_or_index(request: Request) -> Response:
        path = static.get_path({**request.scope, "path": f"/{request.path_params['path']}"})
        return await _file(static, path, request)

    async def configuration(_: Request) -> Response:
        return Response(_CONFIGURATION.read_bytes(), headers=_HEADERS, media_type=_type(".js"))

    async def redirect(_: Request) -> Response:
        return RedirectResponse("viewer/")

    yield Route("/viewer", redirect, methods=["GET"])
    yield Route("/viewer/app-config.js", configuration, methods=["GET"])
    yield Route("/viewer/{path:path}", file_or_index, methods=["GET"])


async def _file(static: StaticFiles, path: str, request: Request) -> Response:
    """Return the file at the path, or the viewer's index if there is no such file."""
    try:
        response = await static.get_response(path, request.scope)
    except HTTPException as error:
        if error.status_code != HTTPStatus.NOT_FOUND or PurePosixPath(path).suffix:
            raise
        path = _INDEX
        response = await static.get_response(path, request.scope)
    response.headers.update(_HEADERS)
    if "content-type" in response.headers:
        response.headers["content-type"] = _type(path)
    return response


def _type(name: str) -> str:
    kind = _TYPES.guess_type(f"file{PurePosixPath(name).suffix or name}")[0]
    return kind or "application/octet-stream"
