"""A fault: a row of the table, with the system that it happens to and how it is measured."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from faults import disks
from faults.system import Deployment, System
from faults.tally import Tally

STORED, SPOOLED = "stored", "spooled"
MODES = (STORED, SPOOLED)
"""The values of `acknowledge`."""


@dataclass(frozen=True)
class Fault:
    """One fault; `measure` breaks the system under load, repairs it, and counts."""

    name: str
    measure: Callable[[System, Path], Tally]
    deployment: Deployment = field(default_factory=Deployment)
    needs_root: bool = False
    spool_on_small_disk: bool = False
    modes: Sequence[str] = MODES


def problem(fault: Fault) -> str:
    """Return why a fault can't happen on this machine; empty when it can."""
    return disks.problem() if fault.needs_root else ""


@contextmanager
def prepared(fault: Fault, folder: Path) -> Iterator[None]:
    """Prepare the disk that a fault breaks."""
    with ExitStack() as stack:
        if fault.spool_on_small_disk:
            stack.enter_context(disks.small_disk(folder / "space" / "spool-proxy"))
        yield
