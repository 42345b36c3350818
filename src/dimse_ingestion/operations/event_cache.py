"""Instances whose event was accepted, as far as this replica remembers.

Only a short cut: what is not remembered is told again, which does no harm. It says nothing of the
object, which may have been removed since.
"""

from collections import OrderedDict


class AcceptedEvents:
    """The event ids of the last `most` instances that the sink knows."""

    def __init__(self, maximum: int = 20_000) -> None:
        self._maximum = maximum
        self._events: OrderedDict[tuple[str, str], str] = OrderedDict()

    def add(self, key: str, sop_class_uid: str, event_id: str) -> None:
        """Remember that the sink accepted the event of an object, told to be of this class."""
        instance = (key, sop_class_uid)
        self._events[instance] = event_id
        self._events.move_to_end(instance)
        while len(self._events) > self._maximum:
            self._events.popitem(last=False)

    def event_id(self, key: str, sop_class_uid: str) -> str:
        """The accepted event's id, empty when none is remembered."""
        return self._events.get((key, sop_class_uid), "")
