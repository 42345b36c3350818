"""Reads an outbox without its lock, beside the process that uses it: what waits and what is dead.

What the process is writing at that moment may be missing, and what it has just forwarded may still
be listed. Nothing here changes a file (see `dead_letters` for what does). All functions block.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from dimse_ingestion.outbox import dead_letters, files, segments
from dimse_ingestion.outbox.dead_letters import Reason
from dimse_ingestion.outbox.folders import Folders
from dimse_ingestion.outbox.records import Metadata, Record, scan
from dimse_ingestion.outbox.segments import Segment


class State(StrEnum):
    """Where a data set of an outbox is."""

    WAITING = "waiting"
    DEAD = "dead letter"


@dataclass(slots=True)
class Item:
    """A data set of an outbox; `place` is its file, or its segment with the record."""

    folders: Folders
    state: State
    metadata: Metadata
    place: Path | Segment
    record: Record | None = None
    reason: Reason = field(default_factory=Reason)

    def open(self) -> files.Source:
        """Return the data set. Raises OSError, DamagedFile, DamagedRecord when it is gone now."""
        if isinstance(self.place, Path):
            return files.open_file(self.place)
        record = self.record
        if record is None:
            raise segments.DamagedRecord
        return _Bytes(self.place.read_record(record.start, record.end - record.start)[1])


@dataclass(frozen=True, slots=True)
class _Bytes:
    content: bytes

    def read(self, offset: int, length: int) -> bytes:
        """Return at most `length` bytes from `offset`."""
        return self.content[offset : offset + length]


def outboxes(spool: Path) -> list[Folders]:
    """Return the outboxes of a spool directory: of each worker and each storage space."""
    found = [*spool.glob("outbox*"), *spool.glob("space-*/outbox*")]
    return [Folders(path) for path in sorted(found) if (path / "segments").is_dir()]


def items(folders: Folders) -> list[Item]:
    """Return what waits and what is dead, the oldest first; what is damaged is left out."""
    found = [*_in_segments(folders), *_in_files(folders)]
    return sorted(found, key=lambda item: item.metadata.received_at)


def _in_segments(folders: Folders) -> Iterator[Item]:
    for segment in segments.existing(folders.segments, tidy=False):
        try:
            marked, content = segment.read_marks(), segment.read_content()
        except FileNotFoundError:
            continue  # it was forwarded meanwhile
        for found in scan(content, segment.salt):
            if isinstance(found, Record) and found.start not in marked:
                yield Item(folders, State.WAITING, found.metadata, segment, found)


def _in_files(folders: Folders) -> Iterator[Item]:
    states = {
        folders.files: State.WAITING,
        folders.retry: State.WAITING,
        folders.dead_letters: State.DEAD,
    }
    for folder, state in states.items():
        for path in sorted(folder.glob(f"*{files.SUFFIX}")):
            try:
                opened = files.open_file(path)
            except (FileNotFoundError, files.DamagedFile):
                continue
            opened.close()
            reason = dead_letters.read_reason(path) if state is State.DEAD else Reason()
            yield Item(folders, state, opened.metadata, path, reason=reason)
