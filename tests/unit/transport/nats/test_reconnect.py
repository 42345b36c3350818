from typing import Any

import pytest

from dimse_ingestion.transport.carrier import CarrierDown
from dimse_ingestion.transport.nats.connection import Connection, Denial
from dimse_ingestion.transport.nats.options import NatsOptions
from dimse_ingestion.transport.nats.reconnect import Connector
from dimse_ingestion.transport.nats.server_urls import AddressError


class Nobody:
    def on_message(self, number: int, delivery: object) -> None: ...
    def on_lost(self, connection: Connection, reason: str) -> None: ...
    def on_denied(self, denial: Denial) -> None: ...
    def on_lame_duck(self, connection: Connection) -> None: ...


def connector(addresses: str, **settings: Any) -> Connector:
    return Connector(NatsOptions(addresses=addresses, name="test", **settings))


def test_servers_take_turns() -> None:
    tries = connector("nats://a:1,nats://b:2,nats://c:3")
    order = []
    for _ in range(6):
        order.append(tries.server.host)
        tries.count_failure()
    assert sorted(order[:3]) == ["a", "b", "c"]
    assert order[:3] == order[3:]


async def test_a_pause_grows_only_when_all_servers_have_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses = list[float]()

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("asyncio.sleep", sleep)
    tries = connector("nats://a:1,nats://b:2", max_backoff=1.0)
    for _ in range(20):
        await tries.pause()
        tries.count_failure()
    assert len(pauses) == 10
    assert pauses[0] <= 0.1 < pauses[2] <= 0.4
    assert all(0.5 <= pause <= 1.0 for pause in pauses[4:])
    assert len(set(pauses[4:])) > 1
    tries.reset_backoff()
    await tries.pause()
    assert pauses[-1] <= 0.1


async def test_a_failed_attempt_reports_its_reason() -> None:
    tries = connector("nats://127.0.0.1:1")
    with pytest.raises(CarrierDown, match=r"nats://127\.0\.0\.1:1 is not reached"):
        await tries.open(Nobody())


def test_an_empty_address_is_refused() -> None:
    with pytest.raises(AddressError):
        connector("")
