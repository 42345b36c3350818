"""The interface of an association to its connection and to tasks, without implementation."""

from asyncio import Task
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

Spawn = Callable[[Coroutine[Any, Any, None], str], Task[None]]
"""Start a named task; it is cancelled when the acceptor stops."""


class TransportConnection(Protocol):
    """A transport connection (PS3.8) as an association uses it."""

    def write(self, content: bytes) -> None:
        """Send bytes without blocking."""

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
