"""A messaging system in memory: what `link` and nats-server are together, for tests and demos.

Subjects with wildcards, queue groups, the server's 503, permissions, and every misfortune: a `fate`
drops, doubles or delays each message, `cut` breaks a connection. It promises no more than
`carrier` says, and loses what was on the way when a connection breaks, as NATS does.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from dimse_ingestion.transport.carrier import NO_RESPONDERS, CarrierDown, Delivery
from dimse_ingestion.transport.protocol.subjects import Permissions, matches

Fate = Callable[[Delivery], Sequence[float]]
"""Seconds after which each copy of a message arrives: none drops it, two double it."""

_MEBIBYTE = 1024 * 1024


def arrives(_: Delivery) -> Sequence[float]:
    """The fate of a message on a good day."""
    return (0.0,)


@dataclass(slots=True, eq=False)
class MemorySubscription:
    """One subject listened to."""

    carrier: "MemoryCarrier"
    subject: str
    take: Callable[[Delivery], None]
    queue: str = ""

    async def drain(self) -> None:
        """Take no new message, hand over those on the way, then let go."""
        if self in self.carrier.subscriptions:
            self.carrier.subscriptions.remove(self)
        await asyncio.sleep(0)


@dataclass(slots=True, eq=False)
class Bus:
    """What all carriers of one system hang on."""

    maximum_payload: int = _MEBIBYTE
    fate: Fate = arrives
    carriers: list["MemoryCarrier"] = field(default_factory=list)
    published: int = 0
    _turn: int = 0

    def carrier(self, permissions: Permissions | None = None) -> "MemoryCarrier":
        """A new connection; with permissions, it may do only what they grant."""
        made = MemoryCarrier(self, permissions)
        self.carriers.append(made)
        return made

    def route(self, sender: "MemoryCarrier", message: Delivery) -> None:
        """Bring one message to each listener, and to one of each queue group."""
        self.published += 1
        if any(each.listening(message.subject) for each in self.carriers):
            for delay in self.fate(message):
                _later(delay, self._arrive, sender, sender.generation, message)
        elif message.reply:
            _later(0.0, sender.refused, sender.generation, message.reply)

    def _arrive(self, sender: "MemoryCarrier", generation: int, message: Delivery) -> None:
        if sender.generation != generation:
            return  # it was still in the buffer of a connection that broke
        for subscription in self._chosen(message.subject):
            subscription.take(message)

    def _chosen(self, subject: str) -> list[MemorySubscription]:
        chosen: list[MemorySubscription] = []
        groups: dict[str, list[MemorySubscription]] = {}
        for carrier in self.carriers:
            for each in carrier.listening(subject):
                (groups.setdefault(each.queue, []) if each.queue else chosen).append(each)
        for members in groups.values():
            self._turn += 1
            chosen.append(members[self._turn % len(members)])
        return chosen


class MemoryCarrier:
    """One connection to a bus."""

    def __init__(self, bus: Bus, permissions: Permissions | None) -> None:
        self._bus = bus
        self._permissions = permissions
        self._changed: list[Callable[[bool], None]] = []
        self.subscriptions: list[MemorySubscription] = []
        self.connected = True
        self.generation = 1
        self.trouble = ""
        self.denied: list[str] = []
        """Subjects this connection was not allowed to use."""

    @property
    def maximum_payload(self) -> int:
        """Bytes that body and headers may have together."""
        return self._bus.maximum_payload

    def publish(
        self,
        subject: str,
        body: bytes,
        *,
        reply: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send one message. Raises CarrierDown when cut, ValueError when it is too long."""
        self._check_connected()
        taken = dict(headers or {})
        size = len(body) + sum(len(name) + len(value) + 4 for name, value in taken.items())
        if size > self._bus.maximum_payload:
            raise ValueError(f"A message of {size} bytes would cut the connection.")
        if self._permissions and not self._permissions.may_publish(subject):
            self._deny(f"publish to {subject}")
            return
        self._bus.route(self, Delivery(subject, body, reply, taken))

    async def wait_writable(self) -> None:
        """Let others run. Raises CarrierDown."""
        await asyncio.sleep(0)
        self._check_connected()

    async def subscribe(
        self, subject: str, take: Callable[[Delivery], None], *, queue: str = ""
    ) -> MemorySubscription:
        """Listen from now on."""
        if self._permissions and not self._permissions.may_subscribe(subject, queue):
            self._deny(f"subscribe to {subject}")
            return MemorySubscription(self, subject, take, queue)  # never listened to
        made = MemorySubscription(self, subject, take, queue)
        self.subscriptions.append(made)
        return made

    def on_change(self, changed: Callable[[bool], None]) -> None:
        """Call at each cut and each restore."""
        self._changed.append(changed)

    async def close(self) -> None:
        """Let go; what was published still arrives."""
        self.subscriptions.clear()
        if self in self._bus.carriers:
            self._bus.carriers.remove(self)

    # misfortunes

    def cut(self) -> None:
        """Break the connection: what is on the way to or from it is lost."""
        if self.connected:
            self.connected, self.trouble = False, "The connection is cut."
            self.generation += 1
            self._tell()

    def restore(self) -> None:
        """The connection is back, with its subscriptions."""
        if not self.connected:
            self.connected, self.trouble = True, ""
            self._tell()

    # for the bus

    def listening(self, subject: str) -> list[MemorySubscription]:
        """Subscriptions a message to this subject reaches now."""
        if not self.connected:
            return []
        return [each for each in self.subscriptions if matches(each.subject, subject)]

    def refused(self, generation: int, reply: str) -> None:
        """The server's answer that nobody listened; reaches only this connection."""
        message = Delivery(reply, b"", headers={"Status": NO_RESPONDERS})
        if generation == self.generation:
            for each in self.listening(reply):
                each.take(message)

    def _check_connected(self) -> None:
        if not self.connected:
            raise CarrierDown(self.trouble)

    def _deny(self, what: str) -> None:
        self.denied.append(what)
        self.trouble = f"Not allowed to {what}."

    def _tell(self) -> None:
        for changed in self._changed:
            changed(self.connected)


def _later(delay: float, call: Callable[..., None], *arguments: object) -> None:
    loop = asyncio.get_running_loop()
    if delay:
        loop.call_later(delay, call, *arguments)
    else:
        loop.call_soon(call, *arguments)
