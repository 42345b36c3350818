"""What an association asks of the loop it runs on: its connection, and tasks. No implementation."""

from asyncio import Task
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

Spawn = Callable[[Coroutine[Any, Any, None], str], Task[None]]
"""Start a task, under a name, that ends with the acceptor at the latest."""


class TransportConnection(Protocol):
    """What an association asks of its connection."""

    def write(self, content: bytes) -> None:
        """Send; never blocks."""

    async def drain(self) -> None:
        """Wait until the peer has read enough, or the connection is lost."""

    def close(self) -> None:
        """Close at once."""

    def pause_reading(self) -> None:
        """Read no more."""

    def resume_reading(self) -> None:
        """Read again."""

    def start_artim(self) -> None:
        """Start the ARTIM timer, or start it again."""

    def stop_artim(self) -> None:
        """Stop the ARTIM timer if it runs."""
