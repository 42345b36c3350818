"""Senders: a process for each association, that store images and report the time of each answer.

The processes are forked once, before anything is measured. A send begins at one moment in all of
them, after their associations are open: opening is not what is measured.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.pool import Pool

from benchmarks.association import Association, StoreMessage
from benchmarks.ct_image import CT_IMAGE_STORAGE, CtImage, Identity
from benchmarks.samples import Outcome

LONGEST_ASSOCIATIONS = 16
_UNTIL_OPEN = 0.1
_UNTIL_ONE_IS_OPEN = 0.02


@dataclass(frozen=True)
class Load:
    """So many objects of one size, over so many associations at once."""

    objects: int
    rows: int
    columns: int
    associations: int = 1
    picture: str = ""
    """Whose pixels the images have (see `pictures`); without one, those of a pattern."""

    @property
    def length(self) -> int:
        """The length in bytes of one data set."""
        return CtImage(self.rows, self.columns).length

    @property
    def total(self) -> int:
        """Return the number of objects that are sent: each association sends equally many."""
        return max(1, self.objects // self.associations) * self.associations

    def __str__(self) -> str:
        plural = "s" if self.associations > 1 else ""
        return f"{self._size_name}, {self.associations} association{plural}"

    @property
    def _size_name(self) -> str:
        pixel_bytes = self.rows * self.columns * 2
        if self.picture:
            return f"{self.picture} of a scanner, {pixel_bytes // 1024} KiB"
        if pixel_bytes < 2**16:
            return f"{self.length / 1000:.0f} KB"
        if pixel_bytes < 2**20:
            return f"CT {pixel_bytes // 1024} KiB"
        return f"{pixel_bytes / 1e6:.0f} MB"


_WARM_UP = Load(8, 32, 32)


@dataclass(frozen=True)
class _Sent:
    started: float
    ended: float
    latencies: list[float]
    cpu: float


class Senders:
    """Processes that send; `run` numbers make the objects of all sends different."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._run = time.time_ns() // 10**6 % 10**11

    def new_identity(self, images_a_study: int = 1_000_000) -> Identity:
        """Return identifiers that no image has had yet."""
        self._run = (self._run + 1) % 10**11
        return Identity(self._run, images_a_study)

    def send(self, port: int, load: Load) -> Outcome:
        """Send a load of new images, a study for each association."""
        share = load.total // load.associations
        image = CtImage(load.rows, load.columns, self.new_identity(share), load.picture)
        begin = time.monotonic() + _UNTIL_OPEN + _UNTIL_ONE_IS_OPEN * load.associations
        tasks = [(port, image, n * share, share, begin) for n in range(load.associations)]
        return self._outcome(tasks, load.length)

    def warm_up(self, port: int) -> int:
        """Send a few small images, so that no round pays for what happens once; return how many."""
        return self.send(port, _WARM_UP).operations

    def fill(self, port: int, image: CtImage, count: int, associations: int = 4) -> None:
        """Send the images numbered below `count`; an outcome is of no interest."""
        share = -(-count // associations)
        ranges = [(start, min(share, count - start)) for start in range(0, count, share)]
        tasks = [(port, image, start, length, 0.0) for start, length in ranges]
        self._outcome(tasks, image.length)

    def _outcome(self, tasks: list[tuple[int, CtImage, int, int, float]], length: int) -> Outcome:
        sent = self._pool.starmap(_send, tasks, chunksize=1)
        latencies = [latency for each in sent for latency in each.latencies]
        return Outcome(
            operations=len(latencies),
            octets=length * len(latencies),
            seconds=max(each.ended for each in sent) - min(each.started for each in sent),
            latencies=latencies,
            cpu={"client": sum(each.cpu for each in sent)},
        )


class LoadSender:
    """A send of new images at each call; `stored` counts them."""

    def __init__(self, senders: Senders, port: int, load: Load) -> None:
        self._senders, self._port, self._load = senders, port, load
        self.stored = 0

    def __call__(self) -> Outcome:
        """Send."""
        outcome = self._senders.send(self._port, self._load)
        self.stored += outcome.operations
        return outcome


def _send(port: int, image: CtImage, first: int, count: int, begin: float) -> _Sent:
    """Store images over one association; each is sent when the one before is answered."""
    association = Association(port, CT_IMAGE_STORAGE)
    message = StoreMessage(image, association.longest_pdu)
    time.sleep(max(0.0, begin - time.monotonic()))
    cpu, started, latencies = time.process_time(), time.monotonic(), []
    for number in range(first, first + count):
        message.identify(number)
        latencies.append(association.store(message))
    sent = _Sent(started, time.monotonic(), latencies, time.process_time() - cpu)
    association.release()
    return sent


@contextmanager
def open_senders() -> Iterator[Senders]:
    """Fork the senders; to be called before threads are started."""
    with get_context("fork").Pool(LONGEST_ASSOCIATIONS) as pool:
        yield Senders(pool)
