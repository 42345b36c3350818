"""The data sets that wait to be forwarded, the oldest first; pure, without disk and clock.

An entry is small, because there may be a million: what it is about is read from the disk when it is
forwarded. An entry that failed waits for its own time and then has its old place again.
"""

import heapq
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from dimse_ingestion.outbox.instance_index import UNKNOWN, InstanceIndex, fingerprint
from dimse_ingestion.outbox.records import Metadata
from dimse_ingestion.outbox.segments import Segment


@dataclass(slots=True, eq=False)
class Entry:
    """One data set on disk: a record of a segment, or a file of its own."""

    size: int
    received_at: float
    place: Segment | Path
    """The segment of its record, or its file."""
    length: int
    """The bytes of the record or the file."""
    offset: int = 0
    instance: int = UNKNOWN
    """Its fingerprint in the index of instances."""
    number: int = 0
    failures: int = 0
    done: bool = False
    """True if it needs no more work: it is forwarded, refused, dropped or in quarantine."""

    @classmethod
    def of(cls, metadata: Metadata, place: Segment | Path, length: int, offset: int = 0) -> "Entry":
        """Return the entry of a data set with these metadata."""
        instance = fingerprint(metadata.sop_instance_uid)
        return cls(metadata.size, metadata.received_at, place, length, offset, instance)


class WaitingQueue:
    """The entries that are not done; those that were taken and not put back are in progress."""

    def __init__(self) -> None:
        self._all: dict[int, Entry] = {}
        self._fresh: deque[Entry] = deque()
        self._returned: list[tuple[int, Entry]] = []
        self._delayed: list[tuple[float, int, Entry]] = []
        self._last_number = 0
        self.octets = 0
        """The bytes of all data sets."""
        self.instances = InstanceIndex()
        """The instances of all entries that are not done."""

    def __len__(self) -> int:
        return len(self._all)

    @property
    def oldest(self) -> Entry | None:
        """The entry that has waited for the longest time."""
        return next(iter(self._all.values()), None)

    def entries(self) -> list[Entry]:
        """Return all entries that are not done."""
        return list(self._all.values())

    def add(self, entry: Entry) -> None:
        """Add an entry behind all others."""
        self._last_number += 1
        entry.number = self._last_number
        entry.instance = self.instances.add(entry.instance)
        self._all[entry.number] = entry
        self._fresh.append(entry)
        self.octets += entry.size

    def take(self, now: float) -> Entry | None:
        """Return the oldest entry that may be forwarded now, or None."""
        self._return_due(now)
        while entry := self._pop():
            if not entry.done:
                return entry
        return None

    def take_newest(self, now: float) -> Entry | None:
        """Return the newest entry that may be forwarded now, or None; slow after many failures."""
        self._return_due(now)
        while self._fresh:
            if not (entry := self._fresh.pop()).done:
                return entry
        left = sorted(each for each in self._returned if not each[1].done)
        newest = left.pop()[1] if left else None
        self._returned = left  # a sorted list is a heap
        return newest

    def put_back(self, entry: Entry, due: float) -> None:
        """Put back an entry that was taken, for `due`; one that is done meanwhile is left out."""
        if not entry.done:
            heapq.heappush(self._delayed, (due, entry.number, entry))

    def release_delayed(self) -> None:
        """Make all delayed entries due now."""
        for _, _, entry in self._delayed:
            self._return(entry)
        self._delayed.clear()

    def next_due(self) -> float | None:
        """Return when the next delayed entry is due, or None without one."""
        return self._delayed[0][0] if self._delayed else None

    def finish(self, entry: Entry) -> None:
        """Remove an entry that needs no more work; harmless if repeated."""
        if not entry.done:
            entry.done = True
            del self._all[entry.number]
            self.octets -= entry.size
            self.instances.remove(entry.instance)

    def _return_due(self, now: float) -> None:
        while self._delayed and self._delayed[0][0] <= now:
            self._return(heapq.heappop(self._delayed)[2])

    def _return(self, entry: Entry) -> None:
        heapq.heappush(self._returned, (entry.number, entry))

    def _pop(self) -> Entry | None:
        if self._returned and not (self._fresh and self._fresh[0].number < self._returned[0][0]):
            return heapq.heappop(self._returned)[1]
        return self._fresh.popleft() if self._fresh else None
