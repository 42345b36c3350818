"""A trace of each DICOMweb request, with a span when spans are exported.

The span has the method, the route's template and the status, not the URL: a query may name a
patient.
"""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dimse_ingestion.observability import tracing


class RequestSpanMiddleware:
    """Continue the trace of the client's traceparent, or start one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
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
