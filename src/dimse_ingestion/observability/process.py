"""A service's process: logging and tracing, the service itself, the signal to stop.

The service is an async context manager that starts on entry and drains on exit. Its settings are
the caller's; the operator has a loop of its own, because kopf handles its signals.
"""

from contextlib import AbstractAsyncContextManager

from dimse_ingestion.observability import logging, tracing
from dimse_ingestion.observability.shutdown import stop_signal
from dimse_ingestion.settings import ServiceSettings


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
