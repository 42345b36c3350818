import asyncio
from collections.abc import Callable

import pytest

from dimse_ingestion.transport.carrier import CarrierDown, Delivery
from dimse_ingestion.transport.memory import Bus
from dimse_ingestion.transport.protocol.subjects import proxy_permissions


async def settled() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_messages_arrive_in_order_at_every_subscription() -> None:
    bus, got = Bus(), list[tuple[str, bytes]]()
    one, other = bus.carrier(), bus.carrier()
    await one.subscribe("a.>", lambda message: got.append(("one", message.body)))
    await other.subscribe("a.*", lambda message: got.append(("other", message.body)))
    for body in (b"1", b"2"):
        one.publish("a.b", body)
    await settled()
    assert got == [("one", b"1"), ("other", b"1"), ("one", b"2"), ("other", b"2")]


async def test_one_of_a_queue_group_takes_each_message() -> None:
    bus, got = Bus(), list[int]()

    def recorder(number: int) -> Callable[[Delivery], None]:
        return lambda _: got.append(number)

    for number in range(2):
        await bus.carrier().subscribe("a", recorder(number), queue="q")
    for _ in range(10):
        bus.carriers[0].publish("a", b"x")
    await settled()
    assert len(got) == 10
    assert set(got) == {0, 1}


async def test_a_message_without_subscribers_gets_no_responders() -> None:
    bus, got = Bus(), list[Delivery]()
    asking = bus.carrier()
    await asking.subscribe("inbox.>", got.append)
    asking.publish("nobody.there", b"x", reply="inbox.1")
    await settled()
    assert [(each.subject, each.is_no_responders) for each in got] == [("inbox.1", True)]


async def test_a_cut_loses_messages_on_their_way_and_is_reported() -> None:
    bus, got, notified = Bus(), list[bytes](), list[bool]()
    one, other = bus.carrier(), bus.carrier()
    one.on_change(notified.append)
    await other.subscribe("a", lambda message: got.append(message.body))
    one.publish("a", b"1")
    one.cut()
    with pytest.raises(CarrierDown):
        one.publish("a", b"2")
    with pytest.raises(CarrierDown):
        await one.wait_writable()
    one.restore()
    one.publish("a", b"3")
    await settled()
    assert (got, notified, one.connected) == ([b"3"], [False, True], True)


async def test_nothing_reaches_a_cut_connection() -> None:
    bus, got = Bus(), list[Delivery]()
    one, other = bus.carrier(), bus.carrier()
    await other.subscribe("a", got.append)
    one.publish("a", b"1")
    other.cut()
    await settled()
    other.restore()
    await settled()
    assert got == []


async def test_a_subject_without_permission_is_denied() -> None:
    bus, got = Bus(), list[Delivery]()
    await bus.carrier().subscribe(">", got.append)
    proxy = bus.carrier(proxy_permissions("A", "p1"))
    proxy.publish("B.v1.svc.store", b"x")
    await proxy.subscribe("A._INBOX.p2.>", got.append)
    await settled()
    assert got == []
    assert proxy.denied == ["publish to B.v1.svc.store", "subscribe to A._INBOX.p2.>"]
    assert "Not allowed" in proxy.problem


async def test_a_message_over_the_maximum_payload_is_refused() -> None:
    with pytest.raises(ValueError, match="would cut the connection"):
        Bus(maximum_payload=10).carrier().publish("a", b"x", headers={"Name": "value"})
