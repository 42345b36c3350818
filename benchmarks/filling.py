"""Recording of events in a PostgreSQL catalogue from the first instance on: how the rate falls.

Eight clients post batches, as the ingestion service gathers them under load, until the catalogue
has each number of instances of the plan in turn. All of them are posted, and each row has the
median of all blocks of its part. There is an analysis of the tables as the server does it itself.
"""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

from benchmarks.catalogues import POSTGRESQL, Events
from benchmarks.plan import Plan, Selection
from benchmarks.recording import record_operation
from benchmarks.rounds import Contestant, measure
from benchmarks.samples import Row
from benchmarks.sender import Senders
from benchmarks.systems import Deployment, our_services
from harness.postgresql import postgresql

FAMILY = "filling the catalogue"
_IMAGES_A_STUDY = 200
_EVENTS_A_REQUEST = 25
_LONGEST_BLOCK = 10_000


def rows(plan: Plan, senders: Senders, selection: Selection) -> Iterator[list[Row]]:
    """Measure each part up to the last that is wanted."""
    parts = list(pairwise((0, *plan.filling)))
    wanted = [selection.wants(FAMILY, _case(*part)) for part in parts]
    if not any(wanted):
        return
    while not wanted[-1]:
        wanted.pop()
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        folder = Path(name)
        server = stack.enter_context(postgresql(folder / "postgresql", durable=True))
        deployment = Deployment(postgresql=server)
        system = stack.enter_context(our_services(folder / "ours", deployment))
        block = min(_LONGEST_BLOCK, plan.filling[0])
        events = Events(senders.new_identity(images_a_study=_IMAGES_A_STUDY))
        operation = record_operation(system, events, block, _EVENTS_A_REQUEST)
        contestants = {POSTGRESQL: Contestant(operation, system.processes)}
        for (start, end), is_wanted in zip(parts, wanted, strict=False):
            of_part = measure(FAMILY, _case(start, end), contestants, (end - start) // block)
            if (count := system.count()) != end:
                raise RuntimeError(f"The catalogue has {count} instances instead of {end}.")
            if is_wanted:
                yield of_part


def _case(start: int, end: int) -> str:
    return f"from {start:,} to {end:,} instances"
