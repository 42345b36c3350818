"""A service's process: logging and tracing, the service itself, the signal to stop.

The service is an async context manager that starts on entry and drains on exit; it stops at SIGTERM
(an orchestrator) or SIGINT (a person at a terminal), and a second signal during the drain changes
nothing. The operator has a loop of its own, because kopf handles its signals.
"""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager

from dimse_ingestion.observability import logging, tracing
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.settings import ServiceSettings

_LOG = logger(__name__)
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


async def run_service(
    name: str, settings: ServiceSettings, service: AbstractAsyncContextManager[object]
) -> int:
    """Run a service until a signal to stop, then drain it; return the exit status.

    Raises what the service raises when it can't start, such as ConfigurationMistake.
    """
    logging.configure(name, settings.log_level)
    tracing.configure(name, settings.otlp_endpoint)
    try:
        with stop_signal() as stop:
            async with service:
                await stop.wait()
    finally:
        tracing.shut_down()
    return 0


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
