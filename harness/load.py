"""Modalities that send without a pause, while something happens to what they send to.

Each has associations of its own, one after another, with a few instances each; sizes below and
above a proxy's spool memory alternate. The result lists the response for each instance.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from harness import scu
from harness.instances import made_instances
from harness.modalities import Peer
from harness.scu import Answer
from harness.services import eventually

_SIZES = (64 * 2**10, 6 * 2**20, 512 * 2**10)
"""Bytes of pixels of one association's instances."""
_IN_ALL = 3


@dataclass
class Load:
    """The files sent so far, and their responses."""

    peer: Peer
    folder: Path
    answers: list[Answer] = field(default_factory=list)
    ended: Event = field(default_factory=Event)

    @property
    def failed(self) -> list[Answer]:
        """The responses other than 0000."""
        return [answer for answer in self.answers if answer.status != 0]

    @property
    def succeeded(self) -> list[Path]:
        """The files with status 0000."""
        return [answer.path for answer in self.answers if answer.status == 0]

    def goes_on(self, more: int = 12, seconds: float = 90) -> None:
        """Wait for so many further answers."""
        wanted = len(self.answers) + more
        eventually(lambda: len(self.answers), lambda count: count >= wanted, seconds)

    def modality(self, name: str) -> None:
        """Send until it is ended."""
        number = 0
        while not self.ended.is_set():
            folder = self.folder / name / str(number)
            files = [
                made.path
                for size in _SIZES
                for made in made_instances(folder / str(size), _IN_ALL, size)
            ]
            self.answers += scu.store(self.peer, files)
            number += 1


@contextmanager
def sending(peer: Peer, folder: Path, modalities: int = 2) -> Iterator[Load]:
    """Run so many modalities, from their first responses until the block's end."""
    load = Load(peer, folder)
    with ThreadPoolExecutor(modalities) as threads:
        working = [threads.submit(load.modality, f"modality{n}") for n in range(modalities)]
        try:
            load.goes_on(modalities)
            yield load
        finally:
            load.ended.set()
    for each in working:
        each.result()
