"""The ASGI application: routes of all services, wrapped in the middleware for every request.

A service is a function that returns its routes for a `ServiceContext`; `app` lists the services.
The middleware limits requests, adds CORS headers, removes path prefixes and authenticates.
"""

from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp

from dimse_ingestion.audit.trail import AuditTrail
from dimse_ingestion.dicomweb import capabilities
from dimse_ingestion.dicomweb.audit import AuditMiddleware
from dimse_ingestion.dicomweb.http import problems
from dimse_ingestion.dicomweb.http.urls import ServiceUrls
from dimse_ingestion.dicomweb.middleware.admission import (
    AdmissionLimits,
    AdmissionMiddleware,
    refuse_request,
)
from dimse_ingestion.dicomweb.middleware.auth import AuthMiddleware, authenticator
from dimse_ingestion.dicomweb.middleware.path_prefix import PathPrefixMiddleware
from dimse_ingestion.dicomweb.middleware.request_span import RequestSpanMiddleware
from dimse_ingestion.operations.composition import Backends
from dimse_ingestion.settings import DicomwebSettings

_EXPOSED_HEADERS = (
    "ETag",
    "Warning",
    "Content-Range",
    "Content-Location",
    "Link",
    "X-Total-Count",
    "Retry-After",
    "WWW-Authenticate",
)


@dataclass(frozen=True, slots=True)
class ServiceContext:
    """The dependencies of services: settings, connections to other services, URLs for responses.

    A service pushes what it opens to `exit_stack`, which is closed when the server stops. `viewer`
    is the folder of a viewer's files, None without a viewer; `audit_trail` is None without one.
    """

    settings: DicomwebSettings
    backends: Backends
    urls: ServiceUrls
    exit_stack: AsyncExitStack
    viewer: Path | None = None
    audit_trail: AuditTrail | None = None


Service = Callable[[ServiceContext], Iterable[BaseRoute]]


def application(context: ServiceContext, services: Iterable[Service]) -> Starlette:
    """Return one application of all services."""
    routes = [route for service in services for route in service(context)]
    app = Starlette(
        routes=[*routes, *capabilities.routes(context.urls, routes)],
        middleware=list(_middleware(context)),
        exception_handlers={**problems.HANDLERS, HTTPStatus.METHOD_NOT_ALLOWED: _not_allowed},
    )
    # a redirect would contain the host of the request, which a client behind a proxy can't reach
    app.router.redirect_slashes = False
    return app


def _middleware(context: ServiceContext) -> Iterable[Middleware]:
    settings = context.settings
    limits = AdmissionLimits(settings.maximum_requests, settings.silence, settings.least_rate)
    refuse = _with_cors(refuse_request, settings) if settings.cors_origins else refuse_request
    yield Middleware(RequestSpanMiddleware)
    yield Middleware(AdmissionMiddleware, limits=limits, refuse=refuse)
    if settings.cors_origins:
        yield Middleware(_with_cors, settings=settings)
    yield Middleware(PathPrefixMiddleware, urls=context.urls)
    if trail := context.audit_trail:
        yield Middleware(AuditMiddleware, trail=trail, is_trusted=context.urls.is_trusted)
    if authenticate := authenticator(settings, context.urls):
        yield Middleware(AuthMiddleware, authenticate=authenticate)


def _with_cors(app: ASGIApp, settings: DicomwebSettings) -> ASGIApp:
    """Return `app` with CORS headers for the configured origins."""
    return CORSMiddleware(
        app,
        allow_origins=settings.cors_origins,
        allow_methods=["GET", "HEAD", "POST", "OPTIONS"],
        allow_headers=["*"],
        expose_headers=_EXPOSED_HEADERS,
    )


async def _not_allowed(request: Request, error: Exception) -> Response:
    """Return 405 with the methods of all routes for this path in Allow."""
    response = await problems.handle(request, error)
    response.headers["allow"] = ", ".join(sorted(_methods_at(request)))
    return response


def _methods_at(request: Request) -> set[str]:
    methods_of_routes = (
        route.methods
        for route in request.app.routes
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
    )
    return {method for methods in methods_of_routes for method in methods or ()}
