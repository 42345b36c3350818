"""The timer of a session's driver, on the event loop of the services."""

import asyncio

from dimse_ingestion.transport.memory import Bus
from dimse_ingestion.transport.protocol.codec import Message
from dimse_ingestion.transport.protocol.state import NEVER, SessionState
from dimse_ingestion.transport.protocol.timeouts import Timeouts
from dimse_ingestion.transport.server.session_driver import SessionDriver


class Due(SessionState):
    """A session whose timer is due in `seconds` until it has run."""

    def __init__(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        super().__init__("DIMSE.v1.in.s", Timeouts(), loop.time())
        self.due = loop.time() + seconds
        self.runs = asyncio.Queue[float]()

    @property
    def wake_at(self) -> float:
        return self.due

    def on_timer(self, now: float) -> list[Message]:
        self.due = NEVER
        self.runs.put_nowait(now)
        return []


def driver(machine: Due) -> SessionDriver[Due]:
    return SessionDriver(Bus().carrier(), machine, "DIMSE._INBOX.p.i")


async def test_a_timer_that_is_due_at_once_runs_once() -> None:
    machine = Due(0.0)
    session = driver(machine)
    session.send([])  # before the timer has run
    await machine.runs.get()
    session.send([])
    assert machine.runs.empty()


async def test_an_earlier_time_replaces_a_later_one() -> None:
    machine = Due(3600.0)
    session = driver(machine)
    machine.due = session.now()
    session.send([])
    async with asyncio.timeout(60):
        await machine.runs.get()


async def test_a_closed_session_has_no_timer() -> None:
    machine = Due(0.0)
    driver(machine).close()
    later: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.01, later.set_result, None)
    await later
    assert machine.runs.empty()
