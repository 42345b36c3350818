"""What the transport asks of whatever carries its messages: publish, subscribe, and the truth.

NATS stands behind it in `link`, a fake that ships in `memory`. It knows subjects and bytes only:
no operation, no session, no retry. Delivery is at most once and in order between one publisher
and one subscription while the connection holds; nothing more is promised, so `session` counts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

NO_RESPONDERS = "503"
"""Value of the `Status` header of the empty message that says nobody listened."""


class CarrierDown(Exception):
    """Nothing can be carried now: the sentence says why. The carrier reconnects by itself."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as it arrived."""

    subject: str
    body: bytes
    reply: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_no_responders(self) -> bool:
        """Whether this is the server's answer that the subject had no subscription."""
        return not self.body and self.headers.get("Status", "").startswith(NO_RESPONDERS)


class Subscription(Protocol):
    """A subject listened to, over reconnects, until let go."""

    async def drain(self) -> None:
        """Take no new message, hand over those on the way, then let go."""


class Carrier(Protocol):
    """One connection to the messaging system."""

    @property
    def connected(self) -> bool:
        """Whether a round trip succeeded lately and nothing has broken since."""

    @property
    def generation(self) -> int:
        """Counts connections: another number means that messages may have been lost between."""

    @property
    def maximum_payload(self) -> int:
        """Bytes that body and headers may have together on this connection."""

    @property
    def trouble(self) -> str:
        """Empty when healthy, else a sentence for an operator that says what is wrong."""

    def publish(
        self,
        subject: str,
        body: bytes,
        *,
        reply: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send one message: written to the connection's buffer, never waits.

        Raises CarrierDown when not connected.
        """

    async def wait_writable(self) -> None:
        """Wait until the send buffer is below its high-water mark. Raises CarrierDown."""

    async def subscribe(
        self, subject: str, take: Callable[[Delivery], None], *, queue: str = ""
    ) -> Subscription:
        """Listen; `take` is called in order, must not block and must not raise."""

    def on_change(self, changed: Callable[[bool], None]) -> None:
        """Call `changed(connected)` at each disconnect and each reconnect, at once."""

    async def close(self) -> None:
        """Flush, then let go of the connection."""
