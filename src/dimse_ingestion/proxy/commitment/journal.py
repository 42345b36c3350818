"""The journal of transactions on disk: each is a file until its report has arrived.

It survives the end of the process at any point: a request counts from the moment its file is
durable, a decision from the moment its record is. It is bounded in number and bytes. References
are read again when they are needed, so that memory does not grow with them.
"""

import asyncio
import errno
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from dimse_ingestion.durable.files import PART, folder_lock, sync_folder
from dimse_ingestion.failures import LimitExceeded
from dimse_ingestion.observability import metrics
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.proxy.commitment import record_file
from dimse_ingestion.proxy.commitment.record_file import Content, Damaged
from dimse_ingestion.proxy.commitment.transactions import Accepted, Decided, digest
from dimse_ingestion.proxy.operation_ids import new_operation_id

_LOG = logger(__name__)
_SUFFIX, _DAMAGED = ".transaction", ".damaged"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class JournalLimits:
    """The most transactions, and the most bytes of their files together."""

    transactions: int = 10_000
    bytes: int = 256 * 2**20


@dataclass(slots=True, eq=False)
class Entry:
    """A transaction in the journal, without its references; `length` in bytes of its file."""

    id: str
    transaction_uid: str
    calling_ae_title: str
    called_ae_title: str
    received_at: float
    references: int
    digest: bytes
    length: int
    is_duplicate: bool = False
    decided_at: float | None = None


class JournalFull(LimitExceeded):
    """The journal or its disk has no room for another transaction."""


def transaction_files(directory: Path) -> list[Path]:
    """Return the files of the transactions in a journal's folder, in the order of their names."""
    return sorted(directory.glob(f"*{_SUFFIX}"))


class Journal:
    """All transactions of a storage space whose report has not arrived; `open` comes first.

    Files are read and written in one thread, in the order of calls.
    """

    def __init__(
        self, directory: Path, limits: JournalLimits | None = None, space: str = ""
    ) -> None:
        self._directory = directory
        self._limits = limits or JournalLimits()
        self._space = space
        self._entries: dict[str, Entry] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="commitment journal")
        self._stack = ExitStack()
        self._reserved = 0  # bytes of requests that are being written
        self._adding = 0

    @property
    def entries(self) -> list[Entry]:
        """The transactions, the oldest first."""
        return sorted(self._entries.values(), key=lambda each: (each.received_at, each.id))

    @property
    def bytes_used(self) -> int:
        """The bytes of all files together."""
        return sum(each.length for each in self._entries.values()) + self._reserved

    def open(self) -> None:
        """Lock the folder, and read what the last process left in it. Raises OSError."""
        self._stack.enter_context(folder_lock(self._directory))
        for leftover in self._directory.glob(f"*{PART}"):  # never answered
            leftover.unlink(missing_ok=True)
        for path in transaction_files(self._directory):
            self._load(path)
        sync_folder(self._directory)

    def adopt(self, directory: Path) -> None:
        """Take over the transactions of another folder, unless a process uses it. Raises OSError.

        They belonged to a worker, and fewer workers run now.
        """
        with suppress(BlockingIOError), folder_lock(directory):
            for path in transaction_files(directory):
                adopted = self._directory / path.name
                path.rename(adopted)
                self._load(adopted)
            sync_folder(self._directory)
            sync_folder(directory)

    def close(self) -> None:
        """Wait for writes under way, and unlock the folder."""
        self._thread.shutdown(wait=True)
        self._stack.close()

    def find(self, calling_ae_title: str, transaction_uid: str) -> Iterator[Entry]:
        """Yield the transactions of an AE with this Transaction UID."""
        for each in self._entries.values():
            if (each.calling_ae_title, each.transaction_uid) == (calling_ae_title, transaction_uid):
                yield each

    async def add(self, accepted: Accepted) -> Entry:
        """Record a request durably. Raises JournalFull, and OSError when the disk fails."""
        name = new_operation_id()
        length = len(await self._run(lambda: record_file.encode(accepted)))
        self._check_room(length)
        self._reserved += length
        self._adding += 1
        try:
            await self._run(lambda: record_file.create(self._path(name), accepted))
        except OSError as error:
            if error.errno in _FULL:
                raise JournalFull("The disk of the commitment journal is full") from error
            raise
        finally:
            self._reserved -= length
            self._adding -= 1
        entry = _entry(name, Content(accepted, None, length))
        self._entries[name] = entry
        return entry

    async def decide(self, entry: Entry, decided: Decided) -> None:
        """Record the decision on a transaction durably. Raises OSError."""
        path, length = self._path(entry.id), entry.length
        entry.length = await self._run(lambda: record_file.append(path, decided, length))
        entry.decided_at = decided.decided_at

    async def read(self, entry: Entry) -> Content:
        """Return a transaction with its references. Raises Damaged and OSError."""
        return await self._run(lambda: record_file.read(self._path(entry.id)))

    async def remove(self, entry: Entry) -> None:
        """Remove a transaction that is over. Raises OSError."""

        def unlink() -> None:
            self._path(entry.id).unlink(missing_ok=True)
            sync_folder(self._directory)

        await self._run(unlink)
        self._entries.pop(entry.id, None)

    async def set_aside(self, entry: Entry) -> None:
        """Stop using a transaction whose file is damaged; the file stays for the operator."""
        await self._run(lambda: self._set_aside(self._path(entry.id)))
        self._entries.pop(entry.id, None)

    def _load(self, path: Path) -> None:
        try:
            content = record_file.read(path)
        except Damaged:
            self._set_aside(path)
            return
        name = path.name.removesuffix(_SUFFIX)
        self._entries[name] = _entry(name, content)

    def _set_aside(self, path: Path) -> None:
        metrics.commitment_damaged.labels(self._space).inc()
        _LOG.error(
            "A storage commitment transaction is damaged: no report is sent for it.",
            file=path.with_suffix(_DAMAGED).name,
        )
        path.rename(path.with_suffix(_DAMAGED))

    def _check_room(self, length: int) -> None:
        transactions = len(self._entries) + self._adding
        if transactions >= self._limits.transactions:
            raise JournalFull(f"The commitment journal has {transactions} transactions")
        if self.bytes_used + length > self._limits.bytes:
            raise JournalFull(f"The commitment journal has {self.bytes_used} bytes")

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}{_SUFFIX}"

    async def _run(self, work: Callable[[], _Result]) -> _Result:
        """Run in the journal's thread to the end, even if the caller is cancelled."""
        loop = asyncio.get_running_loop()
        return await asyncio.shield(loop.run_in_executor(self._thread, work))


def _entry(name: str, content: Content) -> Entry:
    accepted, decided = content.accepted, content.decided
    return Entry(
        id=name,
        transaction_uid=accepted.transaction_uid,
        calling_ae_title=accepted.calling_ae_title,
        called_ae_title=accepted.called_ae_title,
        received_at=accepted.received_at,
        references=len(accepted.references),
        digest=digest(accepted.references),
        length=content.length,
        is_duplicate=accepted.is_duplicate,
        decided_at=decided.decided_at if decided else None,
    )
