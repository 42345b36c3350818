"""A span around each DICOMweb request, when spans are exported.

It has the method, the route's template and the status, not the URL: a query may name a patient.
"""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dimse_ingestion.observability import tracing


class RequestSpanMiddleware:
    """Record the request's span; the client's traceparent is its parent."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or not tracing.is_exporting():
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        parent = Headers(scope=scope).get(tracing.TRACEPARENT, "")
        with tracing.span("dicomweb request", parent, **{"http.request.method": method}) as span:

            async def send_recorded(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                await send(message)

            try:
                await self._app(scope, receive, send_recorded)
            finally:
                if route := getattr(scope.get("route"), "path", ""):
                    span.set_attribute("http.route", route)
