"""The interface of a messaging system: publish, subscribe, and the state of the connection.

`nats.client` implements it over NATS, `memory` in memory. It carries bytes on subjects, without
operations, sessions or retries. Delivery is at most once, and in order between one publisher and
one subscription while the connection lasts. Nothing more is guaranteed, so `protocol.state` and
`protocol.flow_control` detect losses.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

NO_RESPONDERS = "503"
"""The `Status` header of the server's empty reply to a message that has no subscriber."""


class CarrierDown(Exception):
    """There is no connection now, for the reason in the text; the carrier reconnects by itself."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One received message."""

    subject: str
    body: bytes
    reply: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_no_responders(self) -> bool:
        """Return whether this is the server's reply that a subject has no subscriber."""
        return not self.body and self.headers.get("Status", "").startswith(NO_RESPONDERS)


class Subscription(Protocol):
    """A subscription that lasts over reconnects until it is drained."""

    async def drain(self) -> None:
        """Unsubscribe; messages that are already on their way are still delivered."""


class Carrier(Protocol):
    """A connection to the messaging system, which is restored when it breaks."""

    @property
    def connected(self) -> bool:
        """Return whether the connection is up, with a recent sign of life."""

    @property
    def generation(self) -> int:
        """Return the number of connections so far: after a change, messages may have been lost."""

    @property
    def maximum_payload(self) -> int:
        """Return how many bytes headers and body may have together on this connection."""

    @property
    def problem(self) -> str:
        """Return the problem in a sentence for an operator; empty when healthy."""

    def publish(
        self,
        subject: str,
        body: bytes,
        *,
        reply: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Write one message to the connection's buffer, without waiting.

        Raises CarrierDown when not connected.
        """

    async def wait_writable(self) -> None:
        """Wait until the send buffer is below its high-water mark. Raises CarrierDown."""

    async def subscribe(
        self, subject: str, take: Callable[[Delivery], None], *, queue: str = ""
    ) -> Subscription:
        """Subscribe; `take` is called for each message in order, must not block and not raise."""

    def on_change(self, changed: Callable[[bool], None]) -> None:
        """Call `changed(connected)` at each disconnect and each reconnect, at once."""

    async def close(self) -> None:
        """Flush, then close the connection."""
