"""NATS clients and the messages they received, for tests with a real nats-server."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from dimse_ingestion.transport.carrier import Delivery
from dimse_ingestion.transport.nats.client import NatsClient
from dimse_ingestion.transport.nats.options import NatsOptions

TIMES: dict[str, Any] = {"ping_interval": 60.0, "connect_timeout": 5.0, "max_backoff": 0.2}
"""No ping within a test: a failure must be noticed without one, and load causes no timeout."""
QUICK: dict[str, Any] = {"ping_interval": 0.4, "connect_timeout": 1.0}
"""Short intervals for tests of ping timeouts, which take half a minute in production."""


@dataclass
class ReceivedMessages:
    """The messages that a subscription received; callable as its handler."""

    deliveries: list[Delivery] = field(default_factory=list)

    def __call__(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)

    @property
    def bodies(self) -> list[bytes]:
        """Return the bodies in the order of arrival."""
        return [each.body for each in self.deliveries]


def made(addresses: str | list[str], **settings: Any) -> NatsClient:
    """Return a client that is not started, and does not ping unless configured."""
    return NatsClient(NatsOptions(addresses=addresses, name="test", **{**TIMES, **settings}))


@asynccontextmanager
async def started_client(addresses: str | list[str], **settings: Any) -> AsyncIterator[NatsClient]:
    """Start a client, and close it after the block."""
    client = made(addresses, **settings)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def connected_client(
    addresses: str | list[str], **settings: Any
) -> AsyncIterator[NatsClient]:
    """Start a client, and enter the block when it is connected."""
    async with started_client(addresses, **settings) as client:
        await client.wait_connected(60)
        yield client


async def eventually(current: Callable[[], Any], wanted: Any = True, seconds: float = 60.0) -> None:
    """Wait until `current` returns `wanted`, or a text that contains it; report the last value."""
    deadline = time.monotonic() + seconds
    while not _is(seen := current(), wanted):
        assert time.monotonic() < deadline, f"expected {wanted!r}, last value {seen!r}"
        await asyncio.sleep(0.01)


def _is(seen: Any, wanted: Any) -> bool:
    if isinstance(wanted, str) and wanted:
        return wanted in seen
    return bool(seen == wanted)
