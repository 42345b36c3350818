"""Receiving alone, against DCMTK's `storescp` and pynetdicom: the answer comes at once.

This is what the upper layer costs. Storing is in `storing`.
"""

from collections.abc import Iterator
from contextlib import ExitStack

from benchmarks.plan import Plan, Selection
from benchmarks.receivers import RECEIVERS, STORESCP, receiver
from benchmarks.rounds import Contestant, measure
from benchmarks.samples import Row
from benchmarks.sender import LoadSender, Senders

FAMILY = "receiving"


def rows(plan: Plan, senders: Senders, selection: Selection) -> Iterator[list[Row]]:
    """Measure each load at each receiver."""
    loads = [load for load in plan.receiving if selection.wants(FAMILY, str(load))]
    if not loads:
        return
    with ExitStack() as stack:
        started = {name: stack.enter_context(receiver(name)) for name in RECEIVERS}
        for port, _ in started.values():
            senders.warm_up(port)
        for load in loads:
            contestants = {
                name: Contestant(LoadSender(senders, port, load), processes)
                for name, (port, processes) in started.items()
            }
            yield measure(FAMILY, str(load), contestants, plan.rounds, STORESCP)
