"""The start of an outbox: what the process before has left is read, checked and sorted by age.

Damaged bytes are copied to the quarantine before anything is deleted, and logged. Nothing that is
intact is left out, whatever is damaged around it. It takes minutes for a large outbox, so its
progress can be read meanwhile, and it ends when asked to. All functions block, and raise OSError.
"""

from dataclasses import dataclass, field
from pathlib import Path

from dimse_ingestion.durable.files import move, new_file, write_whole
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.outbox import files, segments
from dimse_ingestion.outbox.folders import Folders
from dimse_ingestion.outbox.kind import DATA_SETS, OutboxKind
from dimse_ingestion.outbox.records import Damage, scan
from dimse_ingestion.outbox.segments import Segment
from dimse_ingestion.outbox.waiting import Entry

_LOG = logger(__name__)


class RecoveryCancelled(Exception):
    """The recovery has ended early, as was asked for."""


@dataclass(slots=True)
class Progress:
    """How much a recovery has read; whoever sets `is_cancelled` ends it before the next file."""

    files: int = 0
    total: int = 0
    is_cancelled: bool = False

    def start(self, total: int) -> None:
        """Begin with the first of so many files."""
        self.files, self.total = 0, total

    def count_file(self) -> None:
        """Count a file that was read. Raises RecoveryCancelled."""
        self.files += 1
        if self.is_cancelled:
            raise RecoveryCancelled


@dataclass(slots=True)
class Recovered:
    """What waits, in the order of its age; the segments that are left, and all bytes on disk."""

    entries: list[Entry] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    next_number: int = 1


def recover(
    folders: Folders, progress: Progress | None = None, kind: OutboxKind = DATA_SETS
) -> Recovered:
    """Read an outbox that no other process uses. Raises RecoveryCancelled."""
    progress = progress or Progress()
    recovered = Recovered()
    if parts := folders.remove_parts():
        _LOG.info("Files that were never complete are removed from the outbox.", files=parts)
    for path in sorted(folders.retry.glob("*")):
        path.rename(folders.files / path.name)
    left, paths = segments.existing(folders.segments), sorted(folders.files.iterdir())
    progress.start(len(left) + len(paths))
    for segment in left:
        recovered.next_number = segment.number + 1
        entries = _segment_entries(segment, folders)
        segment.waiting = len(entries)
        recovered.entries += entries
        recovered.segments.append(segment)
        progress.count_file()
    for path in paths:
        if entry := file_entry(path, folders):
            recovered.entries.append(entry)
        progress.count_file()
    recovered.entries.sort(key=lambda entry: entry.received_at)
    _log(recovered, kind)
    return recovered


def file_entry(path: Path, folders: Folders) -> Entry | None:
    """Return the entry of a data set's file; one that is damaged goes to the quarantine."""
    try:
        opened = files.open_file(path)
    except files.DamagedFile as damaged:
        quarantine_file(path, folders, str(damaged))
        return None
    opened.close()
    return Entry.of(opened.metadata, path, files.file_length(path))


def quarantine_file(path: Path, folders: Folders, reason: str) -> None:
    """Move a file to the quarantine, and log it."""
    move(path, folders.quarantine)
    _LOG.error(
        "A damaged file of the outbox is in quarantine: what it held can't be forwarded.",
        file=path.name,
        reason=reason,
    )


def quarantine_range(segment: Segment, start: int, content: bytes, folders: Folders) -> bool:
    """Copy damaged bytes of a segment to the quarantine; return False if they are there already."""
    name = f"{segment.path.name}-{start}-{start + len(content)}.damaged"
    path = folders.quarantine / name
    if path.exists():
        return False
    with new_file(path) as descriptor:
        write_whole(descriptor, content)
    return True


def _segment_entries(segment: Segment, folders: Folders) -> list[Entry]:
    content = segment.read_content()
    marked = segment.read_marks()
    entries = []
    for found in scan(content, segment.salt):
        if found.start in marked:
            continue
        if isinstance(found, Damage):
            _quarantine(segment, content, found, folders)
            continue
        length = found.end - found.start
        entries.append(Entry.of(found.metadata, segment, length, found.start))
    return entries


def _quarantine(segment: Segment, content: bytes, damage: Damage, folders: Folders) -> None:
    at_end = damage.end == len(content)
    if not quarantine_range(segment, damage.start, content[damage.start : damage.end], folders):
        return
    facts = {
        "file": segment.path.name,
        "start": damage.start,
        "end": damage.end,
        "operation_id": damage.metadata.operation_id if damage.metadata else "",
    }
    if at_end:
        _LOG.warning(
            "The end of a segment of the outbox is damaged and in quarantine: if the process or "
            "the machine stopped while it was written, nobody got an answer to it.",
            **facts,
        )
    else:
        _LOG.error(
            "Bytes within a segment of the outbox are damaged and in quarantine: what they held "
            "can't be forwarded.",
            **facts,
        )


def _log(recovered: Recovered, kind: OutboxKind) -> None:
    if recovered.entries:
        _LOG.info(
            f"{kind.plural.capitalize()} of the process before wait in the outbox.",
            number=len(recovered.entries),
            octets=sum(entry.size for entry in recovered.entries),
        )
