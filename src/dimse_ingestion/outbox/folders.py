"""The folders of an outbox, their lock, and the version of their format.

lock              held by the process that uses the outbox
segments/         short data sets, many in a file, and the marks of those that were forwarded
files/            long data sets, each in a file
dead-letters/     data sets that the service refuses, and the reason of each
retry/            dead letters that are to be sent again
requests/         requests of the command line to the process
quarantine/       damaged bytes, and files that are not understood
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from dimse_ingestion.durable.files import PART, create_folder, folder_lock
from dimse_ingestion.outbox import files
from dimse_ingestion.outbox.records import VERSION

_OTHER_VERSION = re.compile(r"\.v(\d+)\.(segment|dataset)$")


class OutboxInUse(Exception):
    """Another process uses the outbox."""


class NewerFormat(Exception):
    """A newer release has written files that this one can't read; the text names one."""


@dataclass(frozen=True, slots=True)
class Folders:
    """The paths of one outbox."""

    root: Path

    @property
    def segments(self) -> Path:
        """Short data sets."""
        return self.root / "segments"

    @property
    def files(self) -> Path:
        """Long data sets."""
        return self.root / "files"

    @property
    def dead_letters(self) -> Path:
        """Refused data sets."""
        return self.root / "dead-letters"

    @property
    def retry(self) -> Path:
        """Dead letters to send again."""
        return self.root / "retry"

    @property
    def requests(self) -> Path:
        """Requests of the command line."""
        return self.root / "requests"

    @property
    def quarantine(self) -> Path:
        """Damaged bytes."""
        return self.root / "quarantine"

    @property
    def all(self) -> tuple[Path, ...]:
        """Every folder."""
        return (
            self.segments,
            self.files,
            self.dead_letters,
            self.retry,
            self.requests,
            self.quarantine,
        )

    def create(self) -> None:
        """Create the missing ones, durably. Raises OSError."""
        for folder in self.all:
            create_folder(folder)

    def has_content(self) -> bool:
        """Return whether a process before this one has left data sets to forward."""
        folders = (self.segments, self.files, self.retry)
        return any(folder.is_dir() and any(folder.iterdir()) for folder in folders)

    def has_data_sets(self) -> bool:
        """Return whether any data set is here: one to forward, a dead letter, or a damaged one."""
        return self.has_content() or bool(self.dead() or self.quarantined())

    def refuse_newer(self) -> None:
        """Raise NewerFormat when a file is of a version that this release can't read."""
        for folder in (self.segments, self.files, self.retry, self.dead_letters):
            for path in folder.glob("*"):
                match = _OTHER_VERSION.search(path.name)
                if match and int(match[1]) > VERSION:
                    raise NewerFormat(str(path))

    def remove_parts(self) -> int:
        """Remove files whose writing never ended, so that nobody got an answer; count them."""
        parts = [path for folder in self.all for path in folder.glob(f"*{PART}")]
        for path in parts:
            path.unlink(missing_ok=True)
        return len(parts)

    def dead(self) -> list[Path]:
        """Return the files of all dead letters, the oldest operation first."""
        return sorted(self.dead_letters.glob(f"*{files.SUFFIX}"))

    def quarantined(self) -> list[Path]:
        """Return all files in quarantine."""
        return sorted(self.quarantine.glob("*")) if self.quarantine.is_dir() else []


@contextmanager
def lock(root: Path) -> Iterator[None]:
    """Hold the lock of an outbox within the block. Raises OutboxInUse, OSError."""
    with ExitStack() as stack:
        try:
            stack.enter_context(folder_lock(root))
        except BlockingIOError:
            raise OutboxInUse(str(root)) from None
        yield
