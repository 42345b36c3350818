"""Which path within the door a request is aimed at, whatever leads there.

Below the path of the configured address everything is where it is at the root, since a proxy may
strip that path or not. Services don't mind a slash at the end. No client is redirected to them: a
body would have to be sent again, to a host that the request may not know.
"""

from http import HTTPStatus

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from dimse_ingestion.dicomweb.http.urls import BASE_PATH, ServiceUrls


class PathPrefixMiddleware:
    """Has `app` see paths as they are within the door."""

    def __init__(self, app: ASGIApp, urls: ServiceUrls) -> None:
        self._app = app
        self._prefix = urls.prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        answering = self._app
        if scope["type"] == "http":
            if self._prefix and scope["path"] == self._prefix:
                # the page's addresses are relative to a path that ends with a slash
                answering = RedirectResponse(f"{self._prefix}/", HTTPStatus.PERMANENT_REDIRECT)
            scope = {**scope, "path": self._within(scope["path"])}
        await answering(scope, receive, send)

    def _within(self, path: str) -> str:
        if self._prefix and path.startswith(f"{self._prefix}/"):
            path = path.removeprefix(self._prefix)
        return path.removesuffix("/") if path.startswith(f"{BASE_PATH}/") else path
