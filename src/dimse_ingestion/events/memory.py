"""Event sink in memory, for tests and trials; it remembers the events it accepted.

`refusing` makes it fail as a sink does, so that its callers can be tested.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dimse_ingestion.events.contract import ImageStoredEvent
    from dimse_ingestion.failures import Failure


class MemorySink:
    """Hold accepted events in the order of their arrival."""

    def __init__(self) -> None:
        self.accepted: list[ImageStoredEvent] = []
        self.refusing: Failure | None = None  # what every call raises while it is set

    async def accept(self, event: "ImageStoredEvent") -> None:
        """Remember one event."""
        self._refuse()
        self.accepted.append(event)

    async def check(self) -> None:
        """Raise `refusing`, if set."""
        self._refuse()

    async def close(self) -> None:
        """Do nothing: there are no connections."""

    def _refuse(self) -> None:
        if self.refusing:
            raise self.refusing
