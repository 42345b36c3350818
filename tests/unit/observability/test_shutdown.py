import asyncio
import os
import signal

import pytest

from dimse_ingestion.observability.shutdown import stop_signal


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
