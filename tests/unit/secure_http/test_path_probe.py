"""What a probe finds out, against a real server."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dimse_ingestion.observability.http_server import serve
from dimse_ingestion.secure_http.client import SecureClient
from dimse_ingestion.secure_http.path_probe import PathProbe
from dimse_ingestion.settings import PeerAccess

Answer = Callable[[Request], Awaitable[Response]]


@asynccontextmanager
async def probe_of(answer: Answer) -> AsyncIterator[tuple[PathProbe, SecureClient]]:
    """Yield a probe of a server that answers by `answer`, and its client."""
    app = Starlette(routes=[Route("/events", answer, methods=["OPTIONS", "POST"])])
    client = SecureClient(PeerAccess(), timeout=5, connections=4)
    async with serve(app, "127.0.0.1", 0) as port:
        yield PathProbe(f"http://127.0.0.1:{port}/events", 2.5), client
        await client.close()


@pytest.mark.parametrize(
    ("options", "allow", "post", "status"),
    [
        (204, "POST", 500, 204),
        (405, "POST, GET", 500, 200),
        (405, "GET", 202, 405),
        (404, "POST", 404, 404),
        (200, "", 400, 200),
        (200, "", 404, 404),
        (501, "", 202, 200),
        (503, "", 202, 503),
        (401, "", 202, 401),
        (200, "", 401, 401),
        (200, "", 302, 302),
    ],
)
async def test_what_a_post_would_meet(options: int, allow: str, post: int, status: int) -> None:
    bodies = []

    async def answer(request: Request) -> Response:
        if request.method == "POST":
            bodies.append(await request.body())
            return Response(status_code=post)
        return Response(status_code=options, headers={"allow": allow} if allow else {})

    async with probe_of(answer) as (probe, client):
        assert await probe.status(client) == status
    assert set(bodies) <= {b""}


async def test_an_empty_post_is_sent_until_it_has_proved_the_path() -> None:
    methods: list[str] = []
    statuses = iter((404, 503, 400))

    async def answer(request: Request) -> Response:
        methods.append(request.method)
        return Response(status_code=next(statuses) if request.method == "POST" else 404)

    async with probe_of(answer) as (probe, client):
        assert [await probe.status(client) for _ in range(5)] == [404, 503, 200, 200, 200]
    assert methods.count("POST") == 3


async def test_the_media_types_of_the_last_answer_are_known() -> None:
    announced = iter(("application/a, application/b", None))

    async def answer(_: Request) -> Response:
        types = next(announced)
        headers = {"allow": "POST"} | ({"accept-post": types} if types else {})
        return Response(status_code=204, headers=headers)

    async with probe_of(answer) as (probe, client):
        assert probe.accept_post == ""
        await probe.status(client)
        assert probe.accept_post == "application/a, application/b"
        await probe.status(client)
        assert probe.accept_post == ""
