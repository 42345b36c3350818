"""A service runs until a signal to stop, and drains before its process ends."""

import asyncio
import io
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dimse_ingestion.observability.process import run_service, stop_signal
from dimse_ingestion.settings import ProxySettings

SETTINGS = ProxySettings(ae_title="A", nats_url="nats:4222", nats_subject_root="a")


@asynccontextmanager
async def service(steps: list[str]) -> AsyncIterator[None]:
    """Record its steps, and send this process a signal once it runs."""
    steps.append("started")
    asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
    yield
    await asyncio.sleep(0)
    steps.append("drained")


async def test_a_service_runs_until_a_signal_and_is_drained(lines: io.StringIO) -> None:
    steps: list[str] = []
    assert await run_service("proxy", SETTINGS, service(steps)) == 0
    assert steps == ["started", "drained"]


async def test_an_error_at_the_start_is_raised(lines: io.StringIO) -> None:
    @asynccontextmanager
    async def failing(error: Exception | None) -> AsyncIterator[None]:
        if error:
            raise error
        yield

    with pytest.raises(ValueError, match="wrong"):
        await run_service("proxy", SETTINGS, failing(ValueError("wrong")))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_is_an_event_and_nothing_else(number: signal.Signals) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_signal() as output:
        assert not output.is_set()
        os.kill(os.getpid(), number)
        await asyncio.wait_for(output.wait(), 60)
        os.kill(os.getpid(), number)
        await asyncio.sleep(0)
    assert signal.getsignal(signal.SIGTERM) == before
