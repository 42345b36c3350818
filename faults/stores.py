"""What modalities store while one thing is broken and repaired, counted afterwards."""

import sys
from collections.abc import Callable
from pathlib import Path

from faults import load, tally
from faults.load import Load
from faults.system import System
from faults.tally import Tally
from harness.services import eventually

Happen = Callable[[System, Load], float]
"""Breaks and repairs something, and returns the moment of the repair."""
_LONGEST_DRAIN = 300.0  # seconds
_LONGEST_RECOVERY = 120.0


def measure(happen: Happen, system: System, folder: Path) -> Tally:
    """Break the system under load, repair it, wait for the load to go on, and count."""
    with load.sending(system.peer, folder / "modalities") as sent:
        repaired = happen(system, sent)
        before = sent.last_success
        eventually(
            lambda: sent.last_success,
            lambda last: last > max(before, repaired),
            _LONGEST_RECOVERY,
        )
        recovery = sent.last_success - repaired
        sent.wait_for_successes(4)
    wait_for_delivery(system, sent)
    return tally.count(system, sent, recovery)


def wait_for_delivery(system: System, sent: Load, seconds: float = _LONGEST_DRAIN) -> None:
    """Wait until everything acknowledged is in the catalogue, as far as it ever gets there."""
    instances = list(sent.acknowledged.values())
    try:
        eventually(lambda: tally.missing(system, instances), lambda left: left == 0, seconds)
    except AssertionError:
        print("not everything acknowledged is in the catalogue", file=sys.stderr)
