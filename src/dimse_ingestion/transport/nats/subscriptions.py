"""The subscriptions of the NATS client, which are sent again on each new connection."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from dimse_ingestion.transport.carrier import Delivery
from dimse_ingestion.transport.nats.connection import Connection
from dimse_ingestion.transport.nats.permissions import Denials, check_subject
from dimse_ingestion.transport.protocol.subjects import Permissions

_PATTERN = re.compile(r"[^\s\x00]+")


@dataclass(slots=True)
class SubscriptionEntry:
    """One subscription, over all connections."""

    number: int
    subject: str
    queue: str
    take: Callable[[Delivery], None]
    leaving: bool = False

    def send_to(self, connection: Connection) -> None:
        """Send the subscription to a connection. Raises CarrierDown."""
        connection.send_sub(self.number, self.subject, self.queue)


class SubscriptionTable:
    """The subscriptions of one client, by number."""

    def __init__(self) -> None:
        self._by_number: dict[int, SubscriptionEntry] = {}
        self._last_number = 0

    def add(self, subject: str, queue: str, take: Callable[[Delivery], None]) -> SubscriptionEntry:
        """Add a subscription. Raises ValueError for an invalid subject or queue."""
        if not _PATTERN.fullmatch(subject) or (queue and not _PATTERN.fullmatch(queue)):
            raise ValueError(f"not a NATS subject: {subject!r} (queue {queue!r})")
        made = SubscriptionEntry(self._new_number(), subject, queue, take)
        self._by_number[made.number] = made
        return made

    def remove(self, entry: SubscriptionEntry) -> None:
        """Remove a subscription; nothing more is delivered to it."""
        self._by_number.pop(entry.number, None)

    def deliver(self, number: int, delivery: Delivery) -> None:
        """Deliver a message to its subscription, if it still exists."""
        if (entry := self._by_number.get(number)) is not None:
            entry.take(delivery)

    def resubscribe(self, connection: Connection, only_of: Denials | None = None) -> None:
        """Send all subscriptions, or those that were denied. Raises CarrierDown."""
        for each in self._by_number.values():
            if not each.leaving and (
                only_of is None or only_of.is_subscription_denied(each.subject)
            ):
                each.send_to(connection)

    def unsubscribe_all(self, connection: Connection) -> None:
        """End all subscriptions on a connection. Raises CarrierDown."""
        for number in self._by_number:
            connection.send_unsub(number)

    def check_permissions(self, connection: Connection, required_permissions: Permissions) -> None:
        """Use each needed permission on a subject without subscribers; denials arrive later.

        Raises CarrierDown.
        """
        for permission in required_permissions.publish:
            connection.send(check_subject(permission)[0], b"")
        for permission in required_permissions.subscribe:
            number = self._new_number()
            connection.send_sub(number, *check_subject(permission))
            connection.send_unsub(number)

    def _new_number(self) -> int:
        self._last_number += 1
        return self._last_number
