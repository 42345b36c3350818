"""Who sent an instance: the AE titles, the proxy and the time at which it had received it.

Not a resource of PS3.18: no attribute of an instance has this, and group 2, which has AE titles, is
left out of DICOM JSON (PS3.18 F.2). The peer's address is not in the answer, because it is an
address of the imaging zone; the catalogue's table has it.
"""

from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from dimse_ingestion.dicomweb.http.urls import BASE_PATH, resource
from dimse_ingestion.dicomweb.retrieve.context import CACHING, RetrieveContext
from dimse_ingestion.queries.contract import Located

_PATH = "/studies/{study}/series/{series}/instances/{instance}/origin"


def routes(context: RetrieveContext) -> Iterable[BaseRoute]:
    """Yield the route of an instance's origin."""

    async def answer(request: Request) -> Response:
        located = await context.instance(resource(request))
        return JSONResponse(_origin(located), headers=CACHING)

    yield Route(f"{BASE_PATH}{_PATH}", answer, methods=["GET"])


def _origin(located: Located) -> dict[str, str]:
    """Return what is known, by the names that the event has."""
    origin = {
        "callingAeTitle": located.calling_ae_title,
        "calledAeTitle": located.called_ae_title,
        "proxyId": located.proxy_id,
        "receivedAt": located.received_at,
    }
    return {name: text for name, text in origin.items() if text}
