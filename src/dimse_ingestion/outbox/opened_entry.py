"""The data set of an outbox's entry, opened to be read: a record of a segment, or a file.

Nothing is removed or moved here (see `outbox`). All functions block on the disk.
"""

from dataclasses import dataclass
from pathlib import Path

from dimse_ingestion.outbox import files
from dimse_ingestion.outbox.records import Metadata
from dimse_ingestion.outbox.segments import DamagedRecord
from dimse_ingestion.outbox.waiting import Entry


class Damaged(Exception):
    """A data set is not what was added; the text says what is wrong."""


@dataclass(slots=True)
class OpenedEntry:
    """A data set of the outbox that is being forwarded: a `Source`, until `close`."""

    metadata: Metadata
    data: bytes = b""
    file: files.OpenFile | None = None

    def read(self, offset: int, length: int) -> bytes:
        """Return at most `length` bytes from `offset`."""
        if self.file is not None:
            return self.file.read(offset, length)
        return self.data[offset : offset + length]

    def close(self) -> None:
        """Close its file."""
        if self.file is not None:
            self.file.close()


def open_entry(entry: Entry, *, verify: bool) -> OpenedEntry:
    """Return the data set of an entry. Raises Damaged, OSError.

    A record is always verified; the digest of a file only with `verify`, as it reads all of it.
    """
    if isinstance(entry.place, Path):
        return _open_file(entry.place, verify=verify)
    try:
        metadata, data = entry.place.read_record(entry.offset, entry.length)
    except DamagedRecord:
        raise Damaged("its bytes on the disk have changed") from None
    return OpenedEntry(metadata, data)


def _open_file(path: Path, *, verify: bool) -> OpenedEntry:
    try:
        opened = files.open_file(path)
    except FileNotFoundError:
        raise Damaged("its file is gone") from None
    except files.DamagedFile as damaged:
        raise Damaged(str(damaged)) from None
    if verify and not opened.is_intact():
        opened.close()
        raise Damaged("its bytes on the disk have changed")
    return OpenedEntry(opened.metadata, file=opened)
