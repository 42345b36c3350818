"""The catalogue's client against a real HTTP server with given answers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from dimse_ingestion.dicom.elements import Element, element
from dimse_ingestion.failures import Failure, Refused, Unavailable
from dimse_ingestion.observability.http_server import serve
from dimse_ingestion.queries import wire
from dimse_ingestion.queries.contract import Query
from dimse_ingestion.queries.http_client import HttpQueryClient

KEYS = [element(0x00100010, "PN", "山田*"), element(0x0020000D, "UI")]
QUERY = Query(scope="STUDY", keys=KEYS, limit=5, offset=2)
Answer = Callable[[], AsyncIterator[bytes]]


def match(number: int) -> list[Element]:
    return [element(0x0020000D, "UI", f"1.2.{number}"), element(0x00100010, "PN", "山田^太郎")]


class Catalogue:
    """Answers every question by `answer`, or at once by `status`."""

    def __init__(self, answer: Answer | None = None, status: int = 200) -> None:
        self.answer = answer
        self.status = status
        self.ready = 200
        self.queries: list[tuple[str, Query]] = []
        self.app = Starlette(
            routes=[
                Route("/base/query/{level}", self.take, methods=["POST"]),
                Route("/base/readyz", self.readyz),
            ]
        )

    async def take(self, request: Request) -> Response:
        path = request.url.path.removeprefix("/base")
        query = wire.decode_query(path, await request.body())
        self.queries.append((request.query_params[wire.SOURCE], query))
        if self.answer is None:
            return Response(status_code=self.status)
        return StreamingResponse(self.answer(), self.status, media_type=wire.MEDIA_TYPE)

    async def readyz(self, _: Request) -> Response:
        return Response("not ready\n", self.ready)


@asynccontextmanager
async def client_of(app: Starlette, silence: float = 10.0) -> AsyncIterator[HttpQueryClient]:
    async with serve(app, "127.0.0.1", 0) as port:
        client = HttpQueryClient(f"http://127.0.0.1:{port}/base/", "provider 1", timeout=silence)
        try:
            yield client
        finally:
            await client.close()


async def failure(client: HttpQueryClient) -> Failure:
    with pytest.raises(Failure) as raised:
        [each async for each in client.matches(QUERY)]
    return raised.value


async def three() -> AsyncIterator[bytes]:
    for number in range(3):
        yield wire.encode_match(match(number))
    yield wire.encode_end(3)


async def test_sends_the_query_and_yields_the_matches() -> None:
    catalogue = Catalogue(three)
    async with client_of(catalogue.app) as client:
        assert [each async for each in client.matches(QUERY)] == [match(n) for n in range(3)]
    assert catalogue.queries == [("provider 1", QUERY)]


@pytest.mark.parametrize("scope", wire.PATHS)
async def test_each_scope_has_its_path(scope: str) -> None:
    catalogue = Catalogue(three)
    async with client_of(catalogue.app) as client:
        query = Query(scope=scope, keys=KEYS)
        assert len([each async for each in client.matches(query)]) == 3
    assert catalogue.queries == [("provider 1", query)]


async def test_a_match_arrives_before_the_next_is_found() -> None:
    seen = asyncio.Event()

    async def answer() -> AsyncIterator[bytes]:
        yield wire.encode_match(match(0))
        await seen.wait()
        yield wire.encode_match(match(1))
        yield wire.encode_end(2)

    async with client_of(Catalogue(answer).app) as client:
        found = []
        async for each in client.matches(QUERY):
            found.append(each)
            seen.set()
    assert found == [match(0), match(1)]


async def test_closing_ends_the_query_at_the_catalogue() -> None:
    ended = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            for number in range(10**9):
                yield wire.encode_match(match(number))
                await asyncio.sleep(0)
        finally:
            ended.set()

    async with client_of(Catalogue(endless).app) as client:
        async with aclosing(client.matches(QUERY)) as matches:
            assert await anext(matches) == match(0)
        await asyncio.wait_for(ended.wait(), 60)


async def test_a_reader_that_waits_makes_the_catalogue_wait() -> None:
    sent = 0

    async def much() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            yield wire.encode_match([element(0x00324000, "LT", "x" * 100_000)])
            sent += 1
            await asyncio.sleep(0)

    async with (
        client_of(Catalogue(much).app) as client,
        aclosing(client.matches(QUERY)) as matches,
    ):
        await anext(matches)
        before = -1
        while before != sent:  # until nothing more moves
            before = sent
            await asyncio.sleep(0.2)
    assert sent < 300


async def test_an_answer_that_breaks_off_is_transient() -> None:
    async def silent_end() -> AsyncIterator[bytes]:
        yield wire.encode_match(match(0))

    async def torn_connection() -> AsyncIterator[bytes]:
        yield wire.encode_match(match(0))
        raise ConnectionError

    for answer in (silent_end, torn_connection):
        async with client_of(Catalogue(answer).app) as client:
            failed = await failure(client)
        assert (type(failed), failed.transient) == (Unavailable, True)
        assert "broke off" in failed.comment


async def test_a_failure_in_the_middle_is_the_catalogue_s_own() -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield wire.encode_match(match(0))
        yield wire.encode_error(Unavailable("The database is down."))

    async with client_of(Catalogue(failing).app) as client:
        matches = client.matches(QUERY)
        assert await anext(matches) == match(0)
        with pytest.raises(Unavailable, match="The database is down"):
            await anext(matches)


@pytest.mark.parametrize(
    ("http", "kind", "sentence"),
    [
        (400, Refused, "refuses the query with HTTP 400"),
        (413, Refused, "refuses the query with HTTP 413"),
        (404, Refused, "correct QUERY_ENDPOINT"),
        (307, Refused, "correct QUERY_ENDPOINT"),
        (429, Unavailable, "HTTP 429"),
        (500, Unavailable, "HTTP 500"),
        (503, Unavailable, "HTTP 503"),
    ],
)
async def test_a_refusal_has_its_kind_and_sentence(
    http: int, kind: type[Failure], sentence: str
) -> None:
    async with client_of(Catalogue(status=http).app) as client:
        failed = await failure(client)
    assert (type(failed), failed.transient) == (kind, kind is Unavailable)
    assert sentence in failed.comment


async def test_a_catalogue_that_is_not_reached_has_a_sentence_that_says_what_to_do() -> None:
    for endpoint in ("http://127.0.0.1:1", "http://nowhere.invalid", "http://["):
        client = HttpQueryClient(endpoint, "provider")
        failed = await failure(client)
        assert (type(failed), failed.transient) == (Unavailable, True)
        assert "start it or correct QUERY_ENDPOINT" in failed.comment
        with pytest.raises(Unavailable, match="correct QUERY_ENDPOINT"):
            await client.check()
        await client.close()


async def test_a_silent_catalogue_times_out() -> None:
    stuck = asyncio.Event()

    async def sticking() -> AsyncIterator[bytes]:
        yield wire.encode_match(match(0))
        await stuck.wait()

    async with client_of(Catalogue(sticking).app, silence=0.3) as client:
        failed = await failure(client)
        stuck.set()
    assert (type(failed), failed.transient) == (Unavailable, True)
    assert "no answer in 0.3 s" in failed.comment


async def test_the_check_uses_readyz_if_the_catalogue_has_it() -> None:
    catalogue = Catalogue()
    async with client_of(catalogue.app) as client:
        await client.check()
        catalogue.ready = 503
        with pytest.raises(Unavailable, match="not ready"):
            await client.check()
        catalogue.ready = 404
        await client.check()


async def test_the_check_finds_a_wrong_path() -> None:
    async with serve(Catalogue().app, "127.0.0.1", 0) as port:
        client = HttpQueryClient(f"http://127.0.0.1:{port}/elsewhere", "provider 1")
        with pytest.raises(
            Failure,
            match=r"takes no queries at this path \(HTTP 404\): correct QUERY_ENDPOINT",
        ):
            await client.check()
        await client.close()
