"""Removal of the configured path prefix, and of a slash at the end, from request paths.

Paths work with and without the path of the configured URL, since a proxy may strip it or not.
Paths of services may end with a slash. They are rewritten, not redirected: a client would have to
send a body again, to a host that the request may not contain.
"""

from http import HTTPStatus

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from dimse_ingestion.dicomweb.http.urls import BASE_PATH, ServiceUrls


class PathPrefixMiddleware:
    """Passes requests to `app` with paths without the prefix."""

    def __init__(self, app: ASGIApp, urls: ServiceUrls) -> None:
        self._app = app
        self._prefix = urls.prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        app = self._app
        if scope["type"] == "http":
            if self._prefix and scope["path"] == self._prefix:
                # URLs in the page are relative to a path that ends with a slash
                app = RedirectResponse(f"{self._prefix}/", HTTPStatus.PERMANENT_REDIRECT)
            scope = {**scope, "path": self._strip(scope["path"])}
        await app(scope, receive, send)

    def _strip(self, path: str) -> str:
        if self._prefix and path.startswith(f"{self._prefix}/"):
            path = path.removeprefix(self._prefix)
        return path.removesuffix("/") if path.startswith(f"{BASE_PATH}/") else path
