"""Being told to stop: SIGTERM by an orchestrator, SIGINT by a person at a terminal.

A door waits for it and then drains; a second signal during the drain changes nothing.
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
    """An event set by the first signal; within the block signals do nothing else."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()

    def take(number: signal.Signals) -> None:
        _LOG.info("Told to stop.", signal=number.name)
        told.set()

    for each in _SIGNALS:
        loop.add_signal_handler(each, take, each)
    try:
        yield told
    finally:
        for each in _SIGNALS:
            loop.remove_signal_handler(each)
