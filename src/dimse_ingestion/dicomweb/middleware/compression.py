"""Response compression for clients that accept gzip (RFC 9110 section 12.5.3).

Starlette compresses. It only searches for the word gzip in Accept-Encoding; here the qualities are
compared, because `gzip;q=0` refuses it.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

_GZIP = ("gzip", "x-gzip")
_LEVEL = 5


class CompressionMiddleware:
    """Compresses responses of `app`, if the client accepts it and they are long enough."""

    def __init__(self, app: ASGIApp, level: int = _LEVEL) -> None:
        self._gzip = GZipMiddleware(app, compresslevel=level)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "http":
            scope = {**scope, "headers": list(scope["headers"])}
            accepted = ", ".join(Headers(scope=scope).getlist("accept-encoding"))
            MutableHeaders(scope=scope)["accept-encoding"] = (
                "gzip" if accepts_gzip(accepted) else "identity"
            )
        await self._gzip(scope, receive, send)


def accepts_gzip(accept_encoding: str) -> bool:
    """Return whether gzip is accepted with no less quality than the uncompressed response."""
    qualities = dict(_coding_quality(each) for each in accept_encoding.split(","))
    anything = qualities.get("*", 0.0)
    gzip = max(qualities.get(name, -1.0) for name in _GZIP)
    gzip = gzip if gzip >= 0 else anything
    return gzip > 0 and gzip >= qualities.get("identity", 0.0)


def _coding_quality(written: str) -> tuple[str, float]:
    """Return a coding and its quality; 0 for a quality that is no number from 0 to 1."""
    coding, *parameters = (part.strip().lower() for part in written.split(";"))
    values = [part.partition("=")[2].strip() for part in parameters if part.startswith("q")]
    try:
        quality = float(values[0]) if values else 1.0
    except ValueError:
        return coding, 0.0
    return coding, quality if 0 <= quality <= 1 else 0.0
