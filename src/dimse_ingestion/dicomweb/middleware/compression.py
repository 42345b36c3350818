"""Answers compressed for clients that want gzip (RFC 9110 section 12.5.3).

The compressing is starlette's. It asks only whether the word stands in Accept-Encoding; here the
qualities are weighed, because `gzip;q=0` refuses it.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

_GZIP = ("gzip", "x-gzip")
_LEVEL = 5


class CompressionMiddleware:
    """Compresses what `app` answers, if that is wanted and worth it."""

    def __init__(self, app: ASGIApp, level: int = _LEVEL) -> None:
        self._compressing = GZipMiddleware(app, compresslevel=level)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "http":
            scope = {**scope, "headers": list(scope["headers"])}
            accepted = ", ".join(Headers(scope=scope).getlist("accept-encoding"))
            MutableHeaders(scope=scope)["accept-encoding"] = (
                "gzip" if accepts_gzip(accepted) else "identity"
            )
        await self._compressing(scope, receive, send)


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether gzip is accepted, and wanted no less than the plain answer."""
    qualities = dict(_weighed(each) for each in accept_encoding.split(","))
    anything = qualities.get("*", 0.0)
    gzip = max(qualities.get(name, -1.0) for name in _GZIP)
    gzip = gzip if gzip >= 0 else anything
    return gzip > 0 and gzip >= qualities.get("identity", 0.0)


def _weighed(written: str) -> tuple[str, float]:
    """A coding and its quality; none is wanted whose quality is no number from 0 to 1."""
    coding, *parameters = (part.strip().lower() for part in written.split(";"))
    told = [part.partition("=")[2].strip() for part in parameters if part.startswith("q")]
    try:
        quality = float(told[0]) if told else 1.0
    except ValueError:
        return coding, 0.0
    return coding, quality if 0 <= quality <= 1 else 0.0
