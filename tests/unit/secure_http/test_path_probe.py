from collections.abc import Callable

import httpx2
import pytest

from dimse_ingestion.secure_http.path_probe import PathProbe

URL = "http://sink/events"


def client_of(answer: Callable[[httpx2.Request], httpx2.Response]) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.MockTransport(answer))


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
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            assert request.content == b""
            return httpx2.Response(post)
        return httpx2.Response(options, headers={"allow": allow} if allow else {})

    async with client_of(answer) as client:
        assert await PathProbe(URL, 2.5).status(client) == status


async def test_an_empty_post_is_sent_until_it_has_proved_the_path() -> None:
    methods: list[str] = []
    statuses = iter((404, 503, 400))

    def answer(request: httpx2.Request) -> httpx2.Response:
        methods.append(request.method)
        return httpx2.Response(next(statuses) if request.method == "POST" else 404)

    proof = PathProbe(URL, 2.5)
    async with client_of(answer) as client:
        assert [await proof.status(client) for _ in range(5)] == [404, 503, 200, 200, 200]
    assert methods.count("POST") == 3


async def test_the_media_types_of_the_last_answer_are_known() -> None:
    announced = iter(("application/a, application/b", None))

    def answer(_: httpx2.Request) -> httpx2.Response:
        types = next(announced)
        return httpx2.Response(
            204, headers={"allow": "POST"} | ({"accept-post": types} if types else {})
        )

    probe = PathProbe(URL, 2.5)
    assert probe.accept_post == ""
    async with client_of(answer) as client:
        await probe.status(client)
        assert probe.accept_post == "application/a, application/b"
        await probe.status(client)
        assert probe.accept_post == ""
