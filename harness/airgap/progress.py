"""Progress of steps that take minutes, as lines: which of how many, since when, and how long.

Each step prints a line at its begin and at its end, and between them one every 25 seconds, so that
a reader of a log of continuous integration sees that nothing hangs.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from harness.commands import Say

_QUIET = 25.0
"""Seconds between two lines of a running step; a loaded machine makes some more of them."""


def clock(seconds: float) -> str:
    """Return minutes and seconds, as a stopwatch shows them."""
    return f"{int(seconds) // 60:02}:{int(seconds) % 60:02}"


@dataclass
class Progress:
    """Counts `total` steps."""

    total: int
    say: Say
    quiet: float = _QUIET
    done: int = field(default=0, init=False)
    since: float = field(default_factory=time.monotonic, init=False)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Report one step: at its start, while it runs, and at its end."""
        self.done += 1
        began, over = time.monotonic(), threading.Event()
        self._tell(f"{title} ...")
        waiting = threading.Thread(target=self._still, args=(title, began, over), daemon=True)
        waiting.start()
        try:
            yield
        finally:
            over.set()
            waiting.join()
        self._tell(f"{title}: done in {clock(time.monotonic() - began)}")

    def _still(self, title: str, began: float, over: threading.Event) -> None:
        while not over.wait(self.quiet):
            self._tell(f"{title}, for {clock(time.monotonic() - began)}")

    def _tell(self, line: str) -> None:
        elapsed = clock(time.monotonic() - self.since)
        self.say(f"[{self.done}/{self.total}] {elapsed} {line}")
