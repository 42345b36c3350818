"""The interfaces between an association, its connection and tasks, without implementation."""

from asyncio import Task
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

Spawn = Callable[[Coroutine[Any, Any, None], str], Task[None]]
"""Start a named task; it is cancelled when the acceptor stops."""


class ConnectedAssociation(Protocol):
    """An association as its connection uses it."""

    @property
    def peer_name(self) -> str:
        """What sentences call the other end."""

    def connection_made(self) -> None:
        """Start: the connection is open."""

    def data_received(self, received: memoryview) -> int:
        """Read bytes of the peer and return how many were consumed; the view is not used later."""

    def connection_lost(self) -> None:
        """End the association: the connection is closed."""

    def artim_expired(self) -> None:
        """Close the connection: the ARTIM timer has expired."""

    def abort(self, explanation: str) -> None:
        """Send A-ABORT as service user and close; `explanation` is for the log."""

    @property
    def longest_silence(self) -> float | None:
        """Seconds the peer may be silent now; None if this side must act or ARTIM runs."""

    @property
    def is_quiet(self) -> bool:
        """Return whether no message is being received, performed or answered."""


class TransportConnection(Protocol):
    """A transport connection (PS3.8) as an association uses it."""

    def write(self, content: bytes) -> None:
        """Send bytes without blocking."""

    def write_pieces(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Send bytes in pieces without blocking, and without a copy where that can be."""

    async def drain(self) -> None:
        """Wait until the write buffer has space, or the connection is lost."""

    def close(self) -> None:
        """Close at once."""

    def pause_reading(self) -> None:
        """Pause reading."""

    def resume_reading(self) -> None:
        """Resume reading."""

    def start_artim(self) -> None:
        """Start or restart the ARTIM timer."""

    def stop_artim(self) -> None:
        """Stop the ARTIM timer if it runs."""
