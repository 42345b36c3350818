"""The capabilities description of the services (PS3.18 section 8.9), derived from their routes.

Given as JSON, or as WADL, the format of the standard.
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


def routes(urls: ServiceUrls, service_routes: Sequence[BaseRoute]) -> Iterable[BaseRoute]:
    """Return the route of the description: OPTIONS and GET of the base path."""

    async def respond(request: Request) -> Response:
        resources = _methods_by_path(service_routes)
        media_type = choose_offer(
            accepted_types(request), [_JSON, "application/dicom+json", _WADL]
        ).offer
        base = urls.base(request)
        if media_type == _WADL:
            return Response(_as_wadl(resources, base), media_type=_WADL)
        content = {
            "service": "dimse-ingestion",
            "version": version("dimse-ingestion"),
            "base": base,
            "resources": [
                {"path": path, "methods": methods} for path, methods in resources.items()
            ],
        }
        return JSONResponse(content, media_type=media_type)

    yield Route(BASE_PATH, respond, methods=["GET", "OPTIONS"])


def _methods_by_path(service_routes: Iterable[BaseRoute]) -> dict[str, list[str]]:
    """Return the methods by path, relative to the base path."""
    resources: dict[str, set[str]] = {}
    for each in service_routes:
        if isinstance(each, Route) and each.path.startswith(BASE_PATH):
            path = each.path.removeprefix(BASE_PATH)
            resources.setdefault(path, set()).update(each.methods or ())
    return {path: sorted(methods) for path, methods in sorted(resources.items())}


def _as_wadl(methods_by_path: dict[str, list[str]], base: str) -> bytes:
    root = ET.Element("application", {"xmlns": _NAMESPACE})
    resources = ET.SubElement(root, "resources", {"base": base})
    for path, methods in methods_by_path.items():
        resource = ET.SubElement(resources, "resource", {"path": path})
        for name in (each for each in _PARAMETERS if each in path):
            attributes = {"name": name.strip("{}"), "style": "template", "required": "true"}
            ET.SubElement(resource, "param", attributes)
        for method in methods:
            ET.SubElement(resource, "method", {"name": method})
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document
