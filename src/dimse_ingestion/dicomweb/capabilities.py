"""What the door can do (PS3.18 section 8.9), told out of the routes it has: so it is always true.

As JSON, which people and programs read, or as WADL, the standard's form.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from importlib.metadata import version

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from dimse_ingestion.dicomweb.http.content_negotiation import accepted_types, choose_offer
from dimse_ingestion.dicomweb.http.urls import BASE_PATH, ServiceUrls

_WADL = "application/vnd.sun.wadl+xml"
_JSON = "application/json"
_NAMESPACE = "http://wadl.dev.java.net/2009/02"
_PARAMETERS = ("{study}", "{series}", "{instance}")


def routes(urls: ServiceUrls, others: Sequence[BaseRoute]) -> Iterable[BaseRoute]:
    """Where it is told: OPTIONS and GET of the services' base."""

    async def answer(request: Request) -> Response:
        services = _services(others)
        form = choose_offer(accepted_types(request), [_JSON, "application/dicom+json", _WADL]).offer
        base = urls.base(request)
        if form == _WADL:
            return Response(_as_wadl(services, base), media_type=_WADL)
        told = {
            "service": "dimse-ingestion",
            "version": version("dimse-ingestion"),
            "base": base,
            "resources": [{"path": path, "methods": told} for path, told in services.items()],
        }
        return JSONResponse(told, media_type=form)

    yield Route(BASE_PATH, answer, methods=["GET", "OPTIONS"])


def _services(others: Iterable[BaseRoute]) -> dict[str, list[str]]:
    """Methods by path below the base."""
    services: dict[str, set[str]] = {}
    for each in others:
        if isinstance(each, Route) and each.path.startswith(BASE_PATH):
            path = each.path.removeprefix(BASE_PATH)
            services.setdefault(path, set()).update(each.methods or ())
    return {path: sorted(methods) for path, methods in sorted(services.items())}


def _as_wadl(services: dict[str, list[str]], base: str) -> bytes:
    root = ET.Element("application", {"xmlns": _NAMESPACE})
    resources = ET.SubElement(root, "resources", {"base": base})
    for path, methods in services.items():
        resource = ET.SubElement(resources, "resource", {"path": path})
        for name in (each for each in _PARAMETERS if each in path):
            about = {"name": name.strip("{}"), "style": "template", "required": "true"}
            ET.SubElement(resource, "param", about)
        for method in methods:
            ET.SubElement(resource, "method", {"name": method})
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document
