"""Links and what was seen of them, for tests against a real nats-server."""

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
"""No ping within the test: what is noticed was noticed at once, and a busy machine cuts nothing."""
QUICK: dict[str, Any] = {"ping_interval": 0.4, "connect_timeout": 1.0}
"""Times for a test that waits for what takes half a minute in a hospital."""


@dataclass
class ReceivedMessages:
    """Everything a subscription was given."""

    deliveries: list[Delivery] = field(default_factory=list)

    def __call__(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)

    @property
    def bodies(self) -> list[bytes]:
        """In the order they came."""
        return [each.body for each in self.deliveries]


def made(addresses: str | list[str], **settings: Any) -> NatsClient:
    """A link that isn't started, that never pings unless told otherwise."""
    return NatsClient(NatsOptions(addresses=addresses, name="test", **{**TIMES, **settings}))


@asynccontextmanager
async def started_client(addresses: str | list[str], **settings: Any) -> AsyncIterator[NatsClient]:
    """A link that tries to connect for the length of the block."""
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
    """A link that is connected when the block begins."""
    async with started_client(addresses, **settings) as client:
        await client.wait_connected(60)
        yield client


async def eventually(current: Callable[[], Any], wanted: Any = True, seconds: float = 60.0) -> None:
    """Wait until `look` gives what is wanted, or a text that contains it; show the last value."""
    deadline = time.monotonic() + seconds
    while not _is(seen := current(), wanted):
        assert time.monotonic() < deadline, f"wanted {wanted!r}, and last saw {seen!r}"
        await asyncio.sleep(0.01)


def _is(seen: Any, wanted: Any) -> bool:
    if isinstance(wanted, str) and wanted:
        return wanted in seen
    return bool(seen == wanted)
