"""The spool: it holds data sets from their first fragment until their operation has its result.

Short data sets stay in memory; long ones, and those that arrive while memory is scarce, go to files
with a limit over all of them. A file is named by its operation, never by a SOP Instance UID, which
two associations may send at once. It is unlinked as soon as it is open: however the process ends,
nothing is left behind and no file of another operation is deleted.

The spool is no outbox: a data set is not stored for a later attempt, because a modality without a
response sends it again. The directory may be deleted while the service runs; it is created again
(see `directory`).
"""

import errno
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dimse_ingestion.failures import Failure, Unavailable
from dimse_ingestion.observability import metrics
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.spooling import directory as folder
from dimse_ingestion.spooling.spooled import SpooledDataSet
from dimse_ingestion.workers.counts import Count, LocalCount

_LOG = logger(__name__)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_THREADS = 4


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits in bytes: one data set in memory, all in memory, all in files.

    `high_water` is the share of `disk` above which no new association is accepted.
    """

    memory: int = 4 * 2**20
    memory_in_all: int = 64 * 2**20
    disk: int = 16 * 2**30
    high_water: float = 0.9


class Spool:
    """All data sets that a service holds, and the memory and disk they use.

    `memory` and `disk` count the bytes of all processes of the service; default: of this one.
    `space` is the label of the metrics, empty for a service of one storage space.
    """

    def __init__(
        self,
        directory: Path,
        limits: Limits,
        memory: Count | None = None,
        disk: Count | None = None,
        *,
        space: str = "",
    ) -> None:
        self._directory = directory
        self.limits = limits
        self._memory = memory or LocalCount()
        self._disk = disk or LocalCount()
        self._broken = ""
        self._memory_bytes = metrics.spool_memory_bytes.labels(space)
        self._disk_bytes = metrics.spool_disk_bytes.labels(space)
        self._refused = metrics.spool_refused.labels(space)
        self.executor: Executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="spool")

    @property
    def memory_used(self) -> int:
        """The bytes in memory, of all processes that share the limits."""
        return self._memory.total

    @property
    def disk_used(self) -> int:
        """The bytes in files, of all processes that share the limits."""
        return self._disk.total

    def prepare(self) -> None:
        """Create the directory, write to it, and remove files that a crash left there.

        A full disk may get free again, so the service starts nevertheless and is not ready. Raises
        OSError when the directory can't be used.
        """
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            folder.remove_leftovers(self._directory)
            folder.check_writable(self._directory)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            self.mark_broken(error)

    def close(self) -> None:
        """End the threads; data sets that are still open keep their bytes."""
        self.executor.shutdown(wait=False)

    def open(self, operation_id: str) -> SpooledDataSet:
        """Return an empty data set to write to."""
        return SpooledDataSet(self, operation_id)

    @property
    def problem(self) -> str:
        """Return why no new association may be accepted; empty when there is space."""
        if self.disk_used > self.limits.disk * self.limits.high_water:
            return (
                f"The spool holds {self.disk_used} of {self.limits.disk} bytes: its receiver is "
                "slow or not reached, or DIMSE_SPOOL_LIMIT is too small."
            )
        if self._broken and self._usable_again():
            self._broken = ""
        return self._broken

    def is_memory_scarce(self, length: int, held: int) -> bool:
        """Return whether a data set with `held` bytes in memory must not take `length` more."""
        over = held + length > self.limits.memory
        return over or self.memory_used + length > self.limits.memory_in_all

    def count(self, *, memory: int = 0, disk: int = 0) -> None:
        """Add to the bytes in use; negative numbers give bytes back."""
        if memory:
            self._memory.add(memory)
            self._memory_bytes.inc(memory)
        if disk:
            self._disk.add(disk)
            self._disk_bytes.inc(disk)

    def reserve(self, length: int) -> None:
        """Count bytes that will go to a file. Raises Unavailable above the limit."""
        self.count(disk=length)  # before the check: other processes may do the same at this moment
        if self.disk_used > self.limits.disk:
            self.count(disk=-length)
            self._refused.inc()
            raise Unavailable("The spool is full, send again later")

    def open_file(self, operation_id: str) -> int:
        """Return the descriptor of a new file without a name. Raises OSError."""
        return folder.open_unnamed(self._directory, operation_id)

    def mark_broken(self, problem: OSError) -> Failure:
        """Refuse associations until the disk works again; return the failure for this data set."""
        self._refused.inc()
        self._broken = self._sentence(problem)
        _LOG.error("The spool can't take a data set.", reason=problem.strerror)
        return Unavailable("The spool's disk is full or broken, send again later")

    def _sentence(self, error: OSError) -> str:
        what = "is full" if error.errno in _FULL else f"can't be written ({error.strerror})"
        return f"The spool {self._directory} {what}: free space, or mount another."

    def _usable_again(self) -> bool:
        """Return whether a file can be written now, in a directory created again if need be."""
        try:
            folder.check_writable(self._directory)
            usable = folder.has_free_space(self._directory)
        except OSError as error:
            self._broken = self._sentence(error)
            return False
        if usable:
            _LOG.info("The spool can be written again.", directory=str(self._directory))
        return usable
