"""Every address the door answers at, gathered from the services; each service names its own.

A service is a function that, for an opened `Door`, gives its routes; a new one takes a line in
`app`. What holds for every request (limits, CORS, access) is wrapped around them here.
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

from dimse_ingestion.dicomweb import capabilities
from dimse_ingestion.dicomweb.http import problems
from dimse_ingestion.dicomweb.http.urls import ServiceUrls
from dimse_ingestion.dicomweb.middleware.admission import (
    AdmissionLimits,
    AdmissionMiddleware,
    refuse_request,
)
from dimse_ingestion.dicomweb.middleware.auth import AuthMiddleware, authenticator
from dimse_ingestion.dicomweb.middleware.path_prefix import PathPrefixMiddleware
from dimse_ingestion.operations.composition import Backends
from dimse_ingestion.settings import DicomwebSettings

_EXPOSED = (
    "ETag",
    "Warning",
    "Content-Range",
    "Content-Location",
    "Retry-After",
    "WWW-Authenticate",
)


@dataclass(frozen=True, slots=True)
class ServiceContext:
    """What a service is given: settings, what stands behind the door, the addresses it names.

    What a service opens, it leaves to `closing`, which ends with the door. `viewer` is the folder
    of a viewer's files, where the door has one.
    """

    settings: DicomwebSettings
    wires: Backends
    urls: ServiceUrls
    exit_stack: AsyncExitStack
    viewer: Path | None = None


Service = Callable[[ServiceContext], Iterable[BaseRoute]]


def application(context: ServiceContext, services: Iterable[Service]) -> Starlette:
    """All services of the door as one application."""
    routes = [route for service in services for route in service(context)]
    services_and_more = Starlette(
        routes=[*routes, *capabilities.routes(context.urls, routes)],
        middleware=list(_around(context)),
        exception_handlers={**problems.HANDLERS, HTTPStatus.METHOD_NOT_ALLOWED: _not_allowed},
    )
    # it would name the host that the request has, which a client behind a proxy can't reach
    services_and_more.router.redirect_slashes = False
    return services_and_more


def _around(context: ServiceContext) -> Iterable[Middleware]:
    settings = context.settings
    limits = AdmissionLimits(settings.maximum_requests, settings.silence, settings.least_rate)
    refusing = _shared(refuse_request, settings) if settings.cors_origins else refuse_request
    yield Middleware(AdmissionMiddleware, limits=limits, refusing=refusing)
    if settings.cors_origins:
        yield Middleware(_shared, settings=settings)
    yield Middleware(PathPrefixMiddleware, urls=context.urls)
    if check := authenticator(settings, context.urls):
        yield Middleware(AuthMiddleware, check=check)


def _shared(app: ASGIApp, settings: DicomwebSettings) -> ASGIApp:
    """What pages of other origins may ask and read."""
    return CORSMiddleware(
        app,
        allow_origins=settings.cors_origins,
        allow_methods=["GET", "HEAD", "POST", "OPTIONS"],
        allow_headers=["*"],
        expose_headers=_EXPOSED,
    )


async def _not_allowed(request: Request, error: Exception) -> Response:
    """405 with the methods of all services at this address."""
    response = await problems.answer(request, error)
    response.headers["allow"] = ", ".join(sorted(_methods_at(request)))
    return response


def _methods_at(request: Request) -> set[str]:
    here = (
        route.methods
        for route in request.app.routes
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
    )
    return {method for methods in here for method in methods or ()}
