"""Every address the door answers at, gathered from the services; each service names its own.

A service is a function that, for an opened `Door`, gives its routes; a new one takes a line in
`app`. What holds for every request (access, limits, compression) is wrapped around them here.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute

from dimse_ingestion.dicomweb import problems
from dimse_ingestion.dicomweb.addresses import Addresses
from dimse_ingestion.operations.wires import Wires
from dimse_ingestion.settings import DicomwebSettings


@dataclass(frozen=True, slots=True)
class Door:
    """What a service is given: settings, what stands behind the door, the addresses it names."""

    settings: DicomwebSettings
    wires: Wires
    addresses: Addresses


Service = Callable[[Door], Iterable[BaseRoute]]


def application(door: Door, services: Iterable[Service]) -> Starlette:
    """All services of the door as one application."""
    routes = [route for service in services for route in service(door)]
    return Starlette(
        routes=routes,
        middleware=list(_around(door.settings)),
        exception_handlers=problems.HANDLERS,
    )


def _around(settings: DicomwebSettings) -> Iterable[Middleware]:
    if settings.cors_origins:
        yield Middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "HEAD", "POST", "OPTIONS"],
            allow_headers=["*"],
            expose_headers=["ETag", "Warning", "Content-Range"],
        )
