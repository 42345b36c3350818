import asyncio

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from dimse_ingestion.dicomweb.limiting import Limiting
from dimse_ingestion.observability import metrics

SCOPE: Scope = {"type": "http", "method": "GET", "path": "/"}


async def no_body() -> Message:
    return {"type": "http.request"}


def counted(method: str, status: str) -> float:
    return float(metrics.dicomweb_requests.labels(method, status)._value.get())


class Client:
    """What a client was sent; one that `reads` nothing never takes a message."""

    def __init__(self, *, reads: bool = True) -> None:
        self.sent: list[Message] = []
        self._reads = reads

    async def send(self, message: Message) -> None:
        if not self._reads:
            await asyncio.Event().wait()
        self.sent.append(message)


async def test_one_too_many_is_refused_until_another_ends() -> None:
    may_end = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await may_end.wait()
        await PlainTextResponse("done")(scope, receive, send)

    limiting = Limiting(slow, most=1, silence=5)
    first, second, third = Client(), Client(), Client()
    under_way = asyncio.create_task(limiting(SCOPE, no_body, first.send))
    await asyncio.sleep(0)
    await limiting(SCOPE, no_body, second.send)
    may_end.set()
    await under_way
    await limiting(SCOPE, no_body, third.send)
    assert [each.sent[0]["status"] for each in (first, second, third)] == [200, 503, 200]
    assert (b"retry-after", b"1") in second.sent[0]["headers"]


async def test_a_client_that_reads_nothing_is_left() -> None:
    limiting = Limiting(PlainTextResponse("never read"), most=1, silence=0.05)
    await limiting(SCOPE, no_body, Client(reads=False).send)
    reading = Client()
    await limiting(SCOPE, no_body, reading.send)
    assert reading.sent[0]["status"] == 200


@pytest.mark.parametrize(("method", "label"), [("GET", "GET"), ("BREW", "other")])
async def test_answers_are_counted(method: str, label: str) -> None:
    before = counted(label, "200")
    limiting = Limiting(PlainTextResponse("done"), most=1, silence=5)
    await limiting(SCOPE | {"method": method}, no_body, Client().send)
    assert counted(label, "200") == before + 1
