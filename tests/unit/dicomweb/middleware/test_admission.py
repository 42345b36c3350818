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
    """A client that sends `count` bytes of a body every `pause` seconds, and its responses.

    With 0 bytes it has no body. With `reads` false it never reads a message.
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
    """Read at most 100 kB of a body and respond."""
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
        self.middleware = AdmissionMiddleware(
            service, AdmissionLimits(requests, silence=60, least_rate=1000)
        )
        self._tasks: list[asyncio.Task[None]] = []

    def connect(self, client: Client, scope: Scope = GET) -> Client:
        answering = self.middleware(scope, client.receive, client.send)
        self._tasks.append(asyncio.create_task(answering))
        return client

    async def finish(self) -> float:
        """Wait for all clients; return the time."""
        await asyncio.gather(*self._tasks)
        return asyncio.get_running_loop().time()


def test_a_request_above_the_limit_is_refused_until_another_ends() -> None:
    async def play() -> None:
        may_end = asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            await may_end.wait()
            await PlainTextResponse("done")(scope, receive, send)

        middleware = AdmissionMiddleware(slow, AdmissionLimits(1, silence=60, least_rate=1000))
        first, second, third = Client(), Client(), Client()
        under_way = asyncio.create_task(middleware(GET, first.receive, first.send))
        await asyncio.sleep(3000)  # time of the service itself does not count
        await middleware(GET, second.receive, second.send)
        may_end.set()
        await under_way
        await middleware(GET, third.receive, third.send)
        assert [each.status for each in (first, second, third)] == [200, 503, 200]
        assert (b"retry-after", b"1") in second.sent[0]["headers"]

    run_in_virtual_time(play())


def test_a_client_that_reads_nothing_is_disconnected() -> None:
    async def play() -> None:
        scenario = Scenario(requests=1)
        scenario.connect(Client(reads=False))
        assert await scenario.finish() == pytest.approx(60, abs=1)
        reading = scenario.connect(Client())
        await scenario.finish()
        assert reading.status == 200

    run_in_virtual_time(play())


@pytest.mark.parametrize("scope", [POST, CHUNKED], ids=["counted", "chunked"])
def test_a_body_below_the_rate_is_refused(scope: Scope) -> None:
    async def play() -> None:
        scenario = Scenario()
        dripping, steady = Client(1, 10), Client(1000, 1)
        scenario.connect(dripping, scope)
        scenario.connect(steady, scope)
        assert await scenario.finish() == pytest.approx(100, abs=2)
        assert (dripping.status, steady.status) == (408, 200)
        assert b"DICOMWEB_LEAST_RATE" in dripping.sent[1]["body"]

    run_in_virtual_time(play())


def test_bodies_do_not_take_all_slots() -> None:
    async def play() -> None:
        scenario = Scenario()
        bodies = [scenario.connect(Client(2000, 1), POST) for _ in range(4)]
        await asyncio.sleep(10)
        reading = scenario.connect(Client())
        await scenario.finish()
        assert [each.status for each in bodies] == [200, 200, 200, 503]
        assert reading.status == 200

    run_in_virtual_time(play())


def test_the_slowest_body_is_evicted_for_another() -> None:
    async def play() -> None:
        scenario = Scenario()
        dripping, slower, steady = Client(100, 1), Client(1, 1), Client(2000, 1)
        for each in (dripping, slower, steady):
            scenario.connect(each, POST)
        await asyncio.sleep(10.5)
        coming = scenario.connect(Client(20_000, 1), POST)
        await asyncio.sleep(1)
        assert (slower.status, dripping.sent) == (503, [])
        assert (b"retry-after", b"1") in slower.sent[0]["headers"]
        await scenario.finish()
        assert (coming.status, steady.status, dripping.status) == (200, 200, 408)

    run_in_virtual_time(play())


def test_a_client_that_reads_nothing_is_evicted_for_another() -> None:
    async def play() -> None:
        scenario = Scenario(requests=2)
        for _ in range(2):
            scenario.connect(Client(reads=False))
        await asyncio.sleep(1)
        early = scenario.connect(Client())
        await asyncio.sleep(9)
        late = [scenario.connect(Client()) for _ in range(5)]
        await asyncio.sleep(1)
        assert early.status == 503
        assert {each.status for each in late} <= {200, 503}
        assert late[0].status == 200
        await scenario.finish()

    run_in_virtual_time(play())


def test_many_slow_bodies_do_not_block_others() -> None:
    async def play() -> None:
        scenario = Scenario(requests=128)
        for _ in range(128):
            scenario.connect(Client(1, 10), POST)
        for _ in range(8):
            await asyncio.sleep(2)
            reading, sending = (
                scenario.connect(Client()),
                scenario.connect(Client(50_000, 0.1), POST),
            )
            await asyncio.sleep(1)
            assert (reading.status, sending.status) == (200, 200)
        await scenario.finish()

    run_in_virtual_time(play())


@pytest.mark.parametrize(("method", "label"), [("GET", "GET"), ("BREW", "other")])
async def test_responses_are_counted(method: str, label: str) -> None:
    before = counted(label, "200")
    client = Client()
    middleware = AdmissionMiddleware(
        PlainTextResponse("done"), AdmissionLimits(1, silence=5, least_rate=0)
    )
    await middleware({**GET, "method": method}, client.receive, client.send)
    assert counted(label, "200") == before + 1
