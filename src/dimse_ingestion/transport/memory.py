"""A messaging system in memory, in place of the NATS client and nats-server, for tests and demos.

It has subjects with wildcards, queue groups, the server's 503, permissions, and injected faults:
`delivery_delays` drops, duplicates or delays each message, `cut` breaks a connection. It guarantees
no more than `carrier` does, and loses messages on their way when a connection breaks, as NATS does.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from dimse_ingestion.transport.carrier import NO_RESPONDERS, CarrierDown, Delivery
from dimse_ingestion.transport.protocol.subjects import Permissions, matches

DeliveryDelays = Callable[[Delivery], Sequence[float]]
"""Returns the delay in seconds of each copy of a message: none drops it, two duplicate it."""

_MEBIBYTE = 1024 * 1024


def deliver_at_once(_: Delivery) -> Sequence[float]:
    """Return the delays of one copy that is delivered at once."""
    return (0.0,)


@dataclass(slots=True, eq=False)
class MemorySubscription:
    """One subscription of a carrier."""

    carrier: "MemoryCarrier"
    subject: str
    take: Callable[[Delivery], None]
    queue: str = ""

    async def drain(self) -> None:
        """Unsubscribe; messages that are already on their way are still delivered."""
        if self in self.carrier.subscriptions:
            self.carrier.subscriptions.remove(self)
        await asyncio.sleep(0)


@dataclass(slots=True, eq=False)
class Bus:
    """The server that the carriers of one system share."""

    maximum_payload: int = _MEBIBYTE
    delivery_delays: DeliveryDelays = deliver_at_once
    carriers: list["MemoryCarrier"] = field(default_factory=list)
    published: int = 0
    _next_member: int = 0

    def carrier(self, permissions: Permissions | None = None) -> "MemoryCarrier":
        """Return a new connection, restricted to the permissions if they are given."""
        created = MemoryCarrier(self, permissions)
        self.carriers.append(created)
        return created

    def route(self, sender: "MemoryCarrier", message: Delivery) -> None:
        """Deliver one message to each subscription, and to one of each queue group."""
        self.published += 1
        if any(each.subscriptions_to(message.subject) for each in self.carriers):
            for delay in self.delivery_delays(message):
                _later(delay, self._arrive, sender, sender.generation, message)
        elif message.reply:
            _later(0.0, sender.deliver_no_responders, sender.generation, message.reply)

    def _arrive(self, sender: "MemoryCarrier", generation: int, message: Delivery) -> None:
        if sender.generation != generation:
            return  # the message was still in the send buffer of a connection that broke
        for subscription in self._recipients(message.subject):
            subscription.take(message)

    def _recipients(self, subject: str) -> list[MemorySubscription]:
        recipients: list[MemorySubscription] = []
        groups: dict[str, list[MemorySubscription]] = {}
        for carrier in self.carriers:
            for each in carrier.subscriptions_to(subject):
                (groups.setdefault(each.queue, []) if each.queue else recipients).append(each)
        return [
            *recipients,
            *(self.choose_member(subject, members) for members in groups.values()),
        ]

    def choose_member(
        self,
        subject: str,  # noqa: ARG002 - for subclasses
        members: list[MemorySubscription],
    ) -> MemorySubscription:
        """Return the member of a queue group that gets a message: each in turn."""
        self._next_member += 1
        return members[self._next_member % len(members)]


class MemoryCarrier:
    """A `Carrier` connected to a bus."""

    def __init__(self, bus: Bus, permissions: Permissions | None) -> None:
        self._bus = bus
        self._permissions = permissions
        self._changed: list[Callable[[bool], None]] = []
        self.subscriptions: list[MemorySubscription] = []
        self.connected = True
        self.generation = 1
        self.problem = ""
        self.denied: list[str] = []
        """Subjects that this connection was not permitted to use."""

    @property
    def maximum_payload(self) -> int:
        """Return how many bytes headers and body may have together."""
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
        """Yield to other tasks. Raises CarrierDown."""
        await asyncio.sleep(0)
        self._check_connected()

    async def subscribe(
        self, subject: str, take: Callable[[Delivery], None], *, queue: str = ""
    ) -> MemorySubscription:
        """Subscribe from now on."""
        if self._permissions and not self._permissions.may_subscribe(subject, queue):
            self._deny(f"subscribe to {subject}")
            return MemorySubscription(self, subject, take, queue)  # is never delivered to
        created = MemorySubscription(self, subject, take, queue)
        self.subscriptions.append(created)
        return created

    def on_change(self, changed: Callable[[bool], None]) -> None:
        """Call `changed` at each cut and each restore."""
        self._changed.append(changed)

    async def close(self) -> None:
        """Close the connection; messages that were published are still delivered."""
        self.subscriptions.clear()
        if self in self._bus.carriers:
            self._bus.carriers.remove(self)

    # injected faults

    def cut(self) -> None:
        """Break the connection: messages on their way to or from it are lost."""
        if self.connected:
            self.connected, self.problem = False, "The connection is cut."
            self.generation += 1
            self._notify()

    def restore(self) -> None:
        """Restore the connection, with its subscriptions."""
        if not self.connected:
            self.connected, self.problem = True, ""
            self._notify()

    # for the bus

    def subscriptions_to(self, subject: str) -> list[MemorySubscription]:
        """Return the subscriptions that a message to this subject reaches now."""
        if not self.connected:
            return []
        return [each for each in self.subscriptions if matches(each.subject, subject)]

    def deliver_no_responders(self, generation: int, reply: str) -> None:
        """Deliver the server's no-responders reply, to this connection only."""
        message = Delivery(reply, b"", headers={"Status": NO_RESPONDERS})
        if generation == self.generation:
            for each in self.subscriptions_to(reply):
                each.take(message)

    def _check_connected(self) -> None:
        if not self.connected:
            raise CarrierDown(self.problem)

    def _deny(self, what: str) -> None:
        self.denied.append(what)
        self.problem = f"Not allowed to {what}."

    def _notify(self) -> None:
        for changed in self._changed:
            changed(self.connected)


def _later(delay: float, call: Callable[..., None], *arguments: object) -> None:
    loop = asyncio.get_running_loop()
    if delay:
        loop.call_later(delay, call, *arguments)
    else:
        loop.call_soon(call, *arguments)
