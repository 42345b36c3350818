"""Keys whose object is durable and whose event was accepted, as far as this replica remembers.

Only a short cut: what is not remembered is confirmed again, which does no harm.
"""

from collections import OrderedDict


class Confirmed:
    """The last `most` confirmed keys."""

    def __init__(self, most: int = 100_000) -> None:
        self._most = most
        self._keys: OrderedDict[str, str] = OrderedDict()

    def add(self, key: str, event_id: str) -> None:
        """Remember that the sink accepted this event."""
        self._keys[key] = event_id
        self._keys.move_to_end(key)
        while len(self._keys) > self._most:
            self._keys.popitem(last=False)

    def event_of(self, key: str) -> str:
        """The accepted event's id, empty when none is remembered."""
        return self._keys.get(key, "")
