"""Cache of the events that the sink accepted from this replica.

It only saves requests: an event that is not in the cache is sent again, which is harmless. It says
nothing about the object, which may have been deleted since.
"""

from collections import OrderedDict


class AcceptedEvents:
    """The event ids of the last `maximum` instances whose event the sink accepted."""

    def __init__(self, maximum: int = 20_000) -> None:
        self._maximum = maximum
        self._events: OrderedDict[tuple[str, str], str] = OrderedDict()

    def add(self, key: str, sop_class_uid: str, event_id: str) -> None:
        """Remember the accepted event of an object that was announced with this SOP class."""
        instance = (key, sop_class_uid)
        self._events[instance] = event_id
        self._events.move_to_end(instance)
        while len(self._events) > self._maximum:
            self._events.popitem(last=False)

    def event_id(self, key: str, sop_class_uid: str) -> str:
        """Return the accepted event's id, or an empty string when none is cached."""
        return self._events.get((key, sop_class_uid), "")
