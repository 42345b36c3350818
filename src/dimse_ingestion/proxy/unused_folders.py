"""The outboxes and commitment journals of a proxy that no storage space uses.

They are left when a space is taken out of the settings and the proxy is restarted, when `spaces`
begins or ends, and when storage commitment is switched off. What they hold was answered with
success, and nothing forwards or reports it, so the log and /readyz name them until they are used
again or empty, and a metric counts them. Nothing is changed here, unless the command line requests
it (`spool drop`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from dimse_ingestion.observability import metrics
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.outbox import dead_letters
from dimse_ingestion.outbox.browse import outboxes
from dimse_ingestion.outbox.folders import Folders, NewerFormat, OutboxInUse
from dimse_ingestion.outbox.outbox import Outbox
from dimse_ingestion.proxy.commitment.journal import transaction_files

_LOG = logger(__name__)
_INTERVAL = 60.0  # seconds between two counts


@dataclass(frozen=True, slots=True)
class Kind:
    """What is sought; `find` yields each folder that is not empty after its space's directory."""

    name: str
    """The value of the metric's label."""
    find: Callable[[Path], Iterator[tuple[Path, Path]]]
    error: str
    note: str
    """A sentence for /readyz, which the names of the folders end."""
    carry_out: Callable[[Path], Awaitable[bool]] | None = None
    """Does what the command line has requested in a folder; returns whether there was a request."""


def _find_outboxes(directory: Path) -> Iterator[tuple[Path, Path]]:
    for each in outboxes(directory):
        if each.has_data_sets():
            yield each.root.parent, each.root


def _find_journals(directory: Path) -> Iterator[tuple[Path, Path]]:
    workers = chain(directory.glob("*"), directory.glob("space-*/*"))
    for folder in sorted(each for each in workers if each.name.isdecimal()):
        if transaction_files(folder):
            yield folder.parent, folder


async def _drop_requested(root: Path) -> bool:
    """Drop the data sets of an outbox whose drop is requested; return whether any is."""
    if not await asyncio.to_thread(dead_letters.requested_drops, Folders(root)):
        return False
    outbox = Outbox(root)
    try:
        await outbox.open()  # carries out the requests
    except (OutboxInUse, NewerFormat, OSError) as error:
        _LOG.warning("The drop that was requested failed.", folder=str(root), reason=str(error))
    finally:
        await outbox.close()
    return True


OUTBOXES = Kind(
    "spool",
    _find_outboxes,
    "A spool holds data sets that no storage space forwards: configure its space again, or export "
    "them (dimse-ingestion spool export --waiting) and drop them (spool drop).",
    "No storage space forwards the data sets in",
    _drop_requested,
)
JOURNALS = Kind(
    "commitment_journal",
    _find_journals,
    "A journal holds storage commitment requests that no storage space reports: configure its "
    "space with storage commitment again, or remove the folder; then the requestors get no report.",
    "No storage space reports the storage commitment requests in",
)


class UnusedFolders:
    """Find them below a directory; `used` returns the directories of the storage spaces."""

    def __init__(self, kind: Kind, directory: Path, used: Callable[[], set[Path]]) -> None:
        self._kind = kind
        self._directory = directory
        self._used = used

    async def log(self) -> None:
        """Log an error for each."""
        for folder in await self._find():
            _LOG.error(self._kind.error, folder=str(folder))

    async def describe(self) -> str:
        """Return them as a sentence for /readyz; empty without one."""
        found = ", ".join(str(each.relative_to(self._directory)) for each in await self._find())
        return f"{self._kind.note} {found}." if found else ""

    async def watch(self) -> None:
        """Carry out requests and set the metric, each minute until it is cancelled."""
        gauge = metrics.proxy_unused_folders.labels(self._kind.name)
        while True:
            with suppress(OSError):  # a folder that is gone meanwhile
                found = await self._find()
                if carry_out := self._kind.carry_out:
                    requested = [await carry_out(folder) for folder in found]
                    found = await self._find() if any(requested) else found
                gauge.set(len(found))
            await asyncio.sleep(_INTERVAL)

    async def _find(self) -> list[Path]:
        used = self._used()
        found = await asyncio.to_thread(lambda: list(self._kind.find(self._directory)))
        return [folder for space, folder in found if space not in used]
