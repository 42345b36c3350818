"""A carrier without a server: subjects, queue groups and losses in one process.

Ships for tests and tools. It promises as little as NATS does, and less when told to: messages can
be lost, doubled or held up, and the connection can break.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count

from dimse_ingestion.transport.carrier import NO_RESPONDERS, CarrierDown, Delivery

Fate = Callable[[Delivery], int]
"""How often a message arrives: 0 loses it, 2 doubles it."""


@dataclass(eq=False)
class _Listening:
    bus: "MemoryBus"
    subject: str
    queue: str
    take: Callable[[Delivery], None]
    owner: "MemoryCarrier"

    async def drain(self) -> None:
        self.bus.listening.remove(self)


@dataclass(eq=False)
class MemoryBus:
    """What several carriers are connected to."""

    maximum_payload: int = 1024 * 1024
    fate: Fate = field(default=lambda _: 1)
    listening: list[_Listening] = field(default_factory=list)
    _turns: "count[int]" = field(default_factory=count)

    def carrier(self) -> "MemoryCarrier":
        """A new connection."""
        return MemoryCarrier(self)

    def route(self, delivery: Delivery, sender: "MemoryCarrier") -> None:
        """Deliver to whoever listens, to one of each queue group; 503 when there is nobody."""
        for _ in range(self.fate(delivery)):
            takers = self._takers(delivery.subject)
            for each in takers:
                self._later(each, delivery)
            if not takers and delivery.reply:
                status = Delivery(delivery.reply, b"", headers={"Status": NO_RESPONDERS})
                for each in self._takers(delivery.reply):
                    if each.owner is sender:
                        self._later(each, status)

    def _takers(self, subject: str) -> list[_Listening]:
        found: list[_Listening] = []
        groups: dict[str, list[_Listening]] = {}
        for each in self.listening:
            if each.owner.connected and _matches(each.subject, subject):
                (groups.setdefault(each.queue, []) if each.queue else found).append(each)
        turn = next(self._turns)
        return found + [members[turn % len(members)] for members in groups.values()]

    def _later(self, each: _Listening, delivery: Delivery) -> None:
        asyncio.get_running_loop().call_soon(self._deliver, each, delivery)

    def _deliver(self, each: _Listening, delivery: Delivery) -> None:
        if each in self.listening and each.owner.connected:
            each.take(delivery)


class MemoryCarrier:
    """One connection to a bus; `break_off` and `restore` play its loss."""

    def __init__(self, bus: MemoryBus) -> None:
        self.connected = True
        self.generation = 1
        self.trouble = ""
        self._bus = bus
        self._changed: list[Callable[[bool], None]] = []

    @property
    def maximum_payload(self) -> int:
        """Bytes."""
        return self._bus.maximum_payload

    def publish(
        self,
        subject: str,
        body: bytes,
        *,
        reply: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """See `carrier.Carrier`."""
        if not self.connected:
            raise CarrierDown("The connection is broken off.")
        self._bus.route(Delivery(subject, body, reply, headers or {}), self)

    async def flushed(self) -> None:
        """See `carrier.Carrier`."""
        if not self.connected:
            raise CarrierDown("The connection is broken off.")
        await asyncio.sleep(0)

    async def subscribe(
        self, subject: str, take: Callable[[Delivery], None], *, queue: str = ""
    ) -> _Listening:
        """See `carrier.Carrier`."""
        listening = _Listening(self._bus, subject, queue, take, self)
        self._bus.listening.append(listening)
        return listening

    def on_change(self, changed: Callable[[bool], None]) -> None:
        """See `carrier.Carrier`."""
        self._changed.append(changed)

    def break_off(self) -> None:
        """Lose the connection, and what is on its way to this end."""
        self.connected = False
        self._tell()

    def restore(self) -> None:
        """Have it back."""
        self.connected = True
        self.generation += 1
        self._tell()

    def _tell(self) -> None:
        for changed in self._changed:
            changed(self.connected)

    async def close(self) -> None:
        """See `carrier.Carrier`."""
        self.connected = False
        self._bus.listening[:] = [each for each in self._bus.listening if each.owner is not self]


def _matches(pattern: str, subject: str) -> bool:
    wanted, given = pattern.split("."), subject.split(".")
    for place, token in enumerate(wanted):
        if token == ">":
            return len(given) > place
        if place >= len(given) or token not in ("*", given[place]):
            return False
    return len(wanted) == len(given)
