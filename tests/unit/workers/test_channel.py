"""Both ends of the channel over a real pair of sockets."""

import asyncio
import socket
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from dimse_ingestion.workers.channel import HEALTH, PING, SupervisorEnd, WorkerEnd, WorkerGone


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


async def test_requests_are_answered_by_their_numbers_whatever_the_order(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    asked: list[tuple[bytes, int]] = []
    worker = WorkerEnd(pair[1], lambda: None)

    def answer(request: bytes, number: int) -> None:
        asked.append((request, number))
        if len(asked) == 2:
            for kind, each in reversed(asked):
                worker.send({"number": each, "kind": kind.decode()})

    worker.start(lambda plain: plain.close(), answer)
    supervisor = SupervisorEnd(pair[0], lambda message: None)
    first, second = await asyncio.gather(supervisor.request(HEALTH), supervisor.request(PING))
    assert (first["kind"], second["kind"]) == ("H", "P")
    worker.stop()
    supervisor.close()


async def test_a_connection_arrives_open_at_the_worker(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    taken: asyncio.Queue[socket.socket] = asyncio.Queue()
    worker = WorkerEnd(pair[1], lambda: None)
    worker.start(taken.put_nowait, lambda request, number: None)
    supervisor = SupervisorEnd(pair[0], lambda message: None)
    client, accepted = socket.socketpair()
    with client:
        with accepted:
            assert supervisor.pass_connection(accepted)
        with await asyncio.wait_for(taken.get(), 10) as plain:
            plain.sendall(b"hello")
            assert client.recv(5) == b"hello"
    worker.stop()
    supervisor.close()


async def test_the_last_messages_of_a_worker_are_taken_and_its_open_requests_fail(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    messages: list[Mapping[str, Any]] = []
    supervisor = SupervisorEnd(pair[0], messages.append)
    request = asyncio.create_task(supervisor.request(PING))
    await asyncio.sleep(0)
    pair[1].sendall(b'{"mistake": ["DIMSE_PORT is wrong."]}\n')
    pair[1].close()
    supervisor.close()
    assert messages == [{"mistake": ["DIMSE_PORT is wrong."]}]
    with pytest.raises(WorkerGone):
        await request
    with pytest.raises(WorkerGone):
        await supervisor.request(PING)


async def test_a_worker_notices_the_end_of_its_supervisor(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ended = asyncio.Event()
    WorkerEnd(pair[1], ended.set).start(lambda plain: plain.close(), lambda request, number: None)
    pair[0].close()
    await asyncio.wait_for(ended.wait(), 10)
