"""HTTP API of the catalogue: routes, token and probes.

Events are received in `event_receiver`, queries answered in `query_api`. Addresses and ports are in
`app`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from dimse_ingestion.catalogue import database
from dimse_ingestion.catalogue.event_receiver import EventReceiver
from dimse_ingestion.catalogue.group_commit import GroupCommit
from dimse_ingestion.catalogue.problems import problem
from dimse_ingestion.catalogue.query_api import QueryApi
from dimse_ingestion.catalogue.record import record
from dimse_ingestion.catalogue.request_body import BodyReader
from dimse_ingestion.catalogue.rotating import RotatingDatabase
from dimse_ingestion.events import batch_codec
from dimse_ingestion.failures import Failure
from dimse_ingestion.observability import probes
from dimse_ingestion.secure_http.bearer import RefusalLog, RequireToken, TokenCheck
from dimse_ingestion.secure_http.mounted_value import MountedValue
from dimse_ingestion.settings import CatalogueSettings, MountedMissing

_RETRY_INTERVAL = 1.0
_REFRESH_INTERVAL = 5.0  # seconds until a rotated password is used


_Handler = Callable[[Request], Awaitable[Response]]


class _DirectFirst:
    """ASGI application that passes POST requests of some paths on without Starlette's routing.

    Routing and its middleware cost as much as the rest of a request with one event or query.
    """

    def __init__(self, paths: Collection[str], direct: ASGIApp, others: ASGIApp) -> None:
        self._paths, self._direct, self._others = paths, direct, others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        is_direct = scope.get("method") == "POST" and scope["path"] in self._paths
        await (self._direct if is_direct else self._others)(scope, receive, send)


class HttpApi:
    """The HTTP API; run `refresh_database` and `run_commits` as tasks beside it."""

    def __init__(self, database_in_use: RotatingDatabase, settings: CatalogueSettings) -> None:
        self.health = probes.Health("catalogue")
        self._database = database_in_use
        self._settings = settings
        self._group_commit = GroupCommit(
            lambda events: record(database_in_use.engine, events, settings.duplicates),
            settings.commit_size,
        )
        body_reader = BodyReader(settings.maximum_event_length)
        self._queries = QueryApi(database_in_use, settings, body_reader)
        self.health.add("database", self._database_problem)
        probed = probes.routes(self.health)
        protect, is_authorized = self._protection()
        self.events = EventReceiver(
            self._group_commit, body_reader, lambda: database_in_use.problem, is_authorized
        )
        """Takes most events before `app`, which takes them all."""
        self._handlers: dict[str, _Handler] = {
            "/events": self.events.receive,
            **self._queries.handlers(),
        }
        self.app = _DirectFirst(
            self._handlers.keys(),
            protect(self._serve_direct),
            Starlette(routes=[*probed, Mount("/", protect(self._events_and_queries()))]),
        )
        """Events and queries with the token, and the probes without."""
        wrong_port = [
            Route(path, _wrong_port, methods=["POST", "OPTIONS"])
            for path in ("/events", "/query/{level}")
        ]
        self.probes = Starlette(routes=[*probed, *wrong_port])
        """The probes alone, for deployments where events and queries have their own port."""

    def _events_and_queries(self) -> ASGIApp:
        posted = [Route(path, each, methods=["POST"]) for path, each in self._handlers.items()]
        announced = Route("/events", _announce_batches, methods=["OPTIONS"])
        return Starlette(routes=[*posted, announced])

    def _protection(self) -> tuple[Callable[[ASGIApp], ASGIApp], Callable[[str], bool]]:
        """Return what makes an application require the token, if there is one, and its check."""
        access = self._settings.access
        if not access.token:
            return lambda app: app, lambda _: True
        tokens, refusals = MountedValue(access.read_tokens), RefusalLog()
        self.health.add("token", lambda: _token_problem(tokens))
        check = TokenCheck(tokens)
        return lambda app: RequireToken(app, tokens, refusals), check.is_right

    async def _serve_direct(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._handlers[scope["path"]](Request(scope, receive))
        await response(scope, receive, send)

    async def refresh_database(self) -> None:
        """Use the database of the mounted URL, with its schema up to date, until cancelled."""
        while True:
            in_use = await asyncio.to_thread(self._database.refresh)
            await asyncio.sleep(_REFRESH_INTERVAL if in_use else _RETRY_INTERVAL)

    async def run_commits(self) -> None:
        """Commit events until cancelled."""
        await self._group_commit.run()

    def close(self) -> None:
        """End the threads."""
        self._queries.close()

    async def _database_problem(self) -> str:
        if problem := self._database.problem or self._group_commit.problem:
            return problem
        try:
            await asyncio.to_thread(database.check, self._database.engine)
        except Failure as failure:
            return failure.comment
        return ""


def _token_problem(tokens: MountedValue[tuple[str, ...]]) -> str:
    try:
        tokens.value()
    except MountedMissing as missing:
        return str(missing)
    return ""


async def _announce_batches(_: Request) -> Response:
    """Answer the methods and media types that events may have."""
    headers = {"allow": "POST, OPTIONS", "accept-post": batch_codec.ACCEPT_POST}
    return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)


async def _wrong_port(_: Request) -> Response:
    """Answer 421 to events and queries at the port of the probes (RFC 9110 15.5.20)."""
    return problem(
        HTTPStatus.MISDIRECTED_REQUEST, "Events and queries are served over TLS, at another port."
    )
