import asyncio

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.dicomweb.middleware.admission import AdmissionLimits, AdmissionMiddleware
from dimse_ingestion.observability import metrics
from tests.unit.transport.virtual_time import run_in_virtual_time

GET: Scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
POST: Scope = {**GET, "method": "POST", "headers": [(b"content-length", b"1000000")]}
CHUNKED: Scope = {**POST, "headers": [(b"transfer-encoding", b"chunked")]}


def counted(method: str, status: str) -> float:
    return float(metrics.dicomweb_requests.labels(method, status)._value.get())


class Client:
    """One that sends `count` bytes of a body every `pause` seconds, and what it was answered.

    With 0 bytes it has no body. One that `reads` nothing never takes a message.
    """

    def __init__(self, count: int = 0, pause: float = 0, *, reads: bool = True) -> None:
        self.sent: list[Message] = []
        self._count = count
        self._pause = pause
        self._reads = reads

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    async def receive(self) -> Message:
        if self._pause:
            await asyncio.sleep(self._pause)
        return {"type": "http.request", "body": bytes(self._count), "more_body": self._count > 0}

    async def send(self, message: Message) -> None:
        if not self._reads:
            await asyncio.Event().wait()
        self.sent.append(message)


async def service(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads 100 kB of a body, if there is so much, and answers."""
    length = 0
    try:
        async for data in Request(scope, receive).stream():
            length += len(data)
            if length >= 100_000:
                break
    except Problem as problem:
        await problem.response()(scope, receive, send)
    else:
        await PlainTextResponse("done")(scope, receive, send)


class Scenario:
    """The service behind the middleware, and its clients."""

    def __init__(self, requests: int = 4) -> None:
        self.limiting = AdmissionMiddleware(
            service, AdmissionLimits(requests, silence=60, least_rate=1000)
        )
        self._tasks: list[asyncio.Task[None]] = []

    def comes(self, client: Client, scope: Scope = GET) -> Client:
        answering = self.limiting(scope, client.receive, client.send)
        self._tasks.append(asyncio.create_task(answering))
        return client

    async def served(self) -> float:
        """All of them; the time then."""
        await asyncio.gather(*self._tasks)
        return asyncio.get_running_loop().time()


def test_one_too_many_is_refused_until_another_ends() -> None:
    async def play() -> None:
        may_end = asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            await may_end.wait()
            await PlainTextResponse("done")(scope, receive, send)

        limiting = AdmissionMiddleware(slow, AdmissionLimits(1, silence=60, least_rate=1000))
        first, second, third = Client(), Client(), Client()
        under_way = asyncio.create_task(limiting(GET, first.receive, first.send))
        await asyncio.sleep(3000)  # time of the service itself does not count
        await limiting(GET, second.receive, second.send)
        may_end.set()
        await under_way
        await limiting(GET, third.receive, third.send)
        assert [each.status for each in (first, second, third)] == [200, 503, 200]
        assert (b"retry-after", b"1") in second.sent[0]["headers"]

    run_in_virtual_time(play())


def test_a_client_that_reads_nothing_is_left() -> None:
    async def play() -> None:
        scenario = Scenario(requests=1)
        scenario.comes(Client(reads=False))
        assert await scenario.served() == pytest.approx(60, abs=1)
        reading = scenario.comes(Client())
        await scenario.served()
        assert reading.status == 200

    run_in_virtual_time(play())


@pytest.mark.parametrize("scope", [POST, CHUNKED], ids=["counted", "chunked"])
def test_a_body_that_drips_is_refused(scope: Scope) -> None:
    async def play() -> None:
        scenario = Scenario()
        dripping, steady = Client(1, 10), Client(1000, 1)
        scenario.comes(dripping, scope)
        scenario.comes(steady, scope)
        assert await scenario.served() == pytest.approx(100, abs=2)
        assert (dripping.status, steady.status) == (408, 200)
        assert b"DICOMWEB_LEAST_RATE" in dripping.sent[1]["body"]

    run_in_virtual_time(play())


def test_bodies_do_not_take_all_places() -> None:
    async def play() -> None:
        scenario = Scenario()
        bodies = [scenario.comes(Client(2000, 1), POST) for _ in range(4)]
        await asyncio.sleep(10)
        reading = scenario.comes(Client())
        await scenario.served()
        assert [each.status for each in bodies] == [200, 200, 200, 503]
        assert reading.status == 200

    run_in_virtual_time(play())


def test_the_slowest_body_gives_its_place_to_another() -> None:
    async def play() -> None:
        scenario = Scenario()
        dripping, slower, steady = Client(100, 1), Client(1, 1), Client(2000, 1)
        for each in (dripping, slower, steady):
            scenario.comes(each, POST)
        await asyncio.sleep(10.5)
        coming = scenario.comes(Client(20_000, 1), POST)
        await asyncio.sleep(1)
        assert (slower.status, dripping.sent) == (503, [])
        assert (b"retry-after", b"1") in slower.sent[0]["headers"]
        await scenario.served()
        assert (coming.status, steady.status, dripping.status) == (200, 200, 408)

    run_in_virtual_time(play())


def test_a_reader_that_reads_nothing_gives_its_place_to_another() -> None:
    async def play() -> None:
        scenario = Scenario(requests=2)
        for _ in range(2):
            scenario.comes(Client(reads=False))
        await asyncio.sleep(1)
        early = scenario.comes(Client())
        await asyncio.sleep(9)
        late = [scenario.comes(Client()) for _ in range(5)]
        await asyncio.sleep(1)
        assert early.status == 503
        assert {each.status for each in late} <= {200, 503}
        assert late[0].status == 200
        await scenario.served()

    run_in_virtual_time(play())


def test_many_that_drip_stop_nobody_else() -> None:
    async def play() -> None:
        scenario = Scenario(requests=128)
        for _ in range(128):
            scenario.comes(Client(1, 10), POST)
        for _ in range(8):
            await asyncio.sleep(2)
            reading, sending = scenario.comes(Client()), scenario.comes(Client(50_000, 0.1), POST)
            await asyncio.sleep(1)
            assert (reading.status, sending.status) == (200, 200)
        await scenario.served()

    run_in_virtual_time(play())


@pytest.mark.parametrize(("method", "label"), [("GET", "GET"), ("BREW", "other")])
async def test_answers_are_counted(method: str, label: str) -> None:
    before = counted(label, "200")
    client = Client()
    limiting = AdmissionMiddleware(
        PlainTextResponse("done"), AdmissionLimits(1, silence=5, least_rate=0)
    )
    await limiting({**GET, "method": method}, client.receive, client.send)
    assert counted(label, "200") == before + 1
