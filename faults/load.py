"""Modalities that send each instance until it has the status 0000, as a hospital's do.

Several at once, with associations of a few instances each, of sizes in one message, of several
messages, and above the proxy's spool memory.
"""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock

from harness import scu
from harness.instances import MadeInstance, made_instances
from harness.modalities import Peer
from harness.services import eventually

SIZES = (4 * 2**10, 300 * 2**10, 6 * 2**20)
"""Bytes of pixels: one message inline, one of a CT, a session with several chunks and a file."""
_EACH = 2
_PAUSE = 0.25  # seconds before a modality sends again what failed


@dataclass
class Load:
    """The instances sent so far, and their responses."""

    peer: Peer
    folder: Path
    acknowledged: dict[Path, MadeInstance] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    last_success: float = 0.0
    discard: bool = False
    """Delete a file as soon as it is acknowledged."""
    ended: Event = field(default_factory=Event)
    _lock: Lock = field(default_factory=Lock)

    @property
    def operations(self) -> int:
        """C-STOREs that were sent, -1 for those without a response included."""
        return self.statuses.total()

    @property
    def refused(self) -> int:
        """C-STOREs that were not acknowledged."""
        return self.operations - self.statuses[0]

    def wait_for_successes(self, more: int, seconds: float = 120) -> None:
        """Wait for so many further acknowledged instances."""
        wanted = len(self.acknowledged) + more
        eventually(lambda: len(self.acknowledged), lambda count: count >= wanted, seconds)

    def run_modality(self, name: str) -> None:
        """Send until the load ends."""
        number = 0
        while not self.ended.is_set():
            folder = self.folder / name / str(number)
            batch = [
                each for size in SIZES for each in made_instances(folder / str(size), _EACH, size)
            ]
            self._send(batch)
            number += 1

    def _send(self, batch: list[MadeInstance]) -> None:
        waiting = {each.path: each for each in batch}
        while waiting and not self.ended.is_set():
            for answer in scu.store(self.peer, list(waiting)):
                self._count(answer.status, waiting.get(answer.path))
                if answer.status == 0:
                    waiting.pop(answer.path, None)
            if waiting:
                self.ended.wait(_PAUSE)

    def _count(self, status: int, instance: MadeInstance | None) -> None:
        with self._lock:
            self.statuses[status] += 1
            if status == 0 and instance is not None:
                self.acknowledged[instance.path] = instance
                if self.discard:
                    instance.path.unlink()
                self.last_success = time.monotonic()


@contextmanager
def sending(peer: Peer, folder: Path, modalities: int = 2) -> Iterator[Load]:
    """Run so many modalities, from their first successes until the block's end."""
    load = Load(peer, folder)
    with ThreadPoolExecutor(modalities) as threads:
        working = [threads.submit(load.run_modality, f"modality{n}") for n in range(modalities)]
        try:
            load.wait_for_successes(modalities * 2)
            yield load
        finally:
            load.ended.set()
    for each in working:
        each.result()
