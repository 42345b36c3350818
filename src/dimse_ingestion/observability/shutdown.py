"""The stop signal: SIGTERM by an orchestrator, SIGINT by a person at a terminal.

A service waits for it and then drains; a second signal during the drain changes nothing.
"""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from dimse_ingestion.observability.logging import logger

_LOG = logger(__name__)
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_signal() -> Iterator[asyncio.Event]:
    """Handle the signals within the block, whose value is an event that the first one sets."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def handle(number: signal.Signals) -> None:
        _LOG.info("Received a signal to stop.", signal=number.name)
        stop.set()

    for each in _SIGNALS:
        loop.add_signal_handler(each, handle, each)
    try:
        yield stop
    finally:
        for each in _SIGNALS:
            loop.remove_signal_handler(each)
