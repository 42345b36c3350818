"""Services and tests run on one event loop, which handles signals and starts processes."""

import asyncio
import sys

import pytest
import uvloop

from dimse_ingestion.observability import event_loop


async def _running_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def test_a_command_runs_on_uvloop() -> None:
    assert isinstance(event_loop.run(_running_loop()), uvloop.Loop)


async def test_tests_run_on_the_loop_of_the_services() -> None:
    assert isinstance(await _running_loop(), uvloop.Loop)


def test_an_error_of_the_coroutine_is_raised() -> None:
    async def fail() -> None:
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        event_loop.run(fail())


async def test_a_process_is_started_and_its_exit_status_awaited() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "raise SystemExit(3)")
    assert await process.wait() == 3
