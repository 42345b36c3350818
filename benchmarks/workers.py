"""Growth with worker processes of proxy and ingestion service, against one process each.

On a machine whose cores are busy with one of each nothing can grow: read it with the cores.
"""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.plan import Plan, Selection
from benchmarks.samples import Row
from benchmarks.sender import Senders
from benchmarks.storing import storing_rows
from benchmarks.systems import Deployment, our_services

FAMILY = "workers of proxy and ingestion"
_VARIABLE = "DIMSE_WORKERS"


def rows(plan: Plan, senders: Senders, selection: Selection) -> Iterator[list[Row]]:
    """Measure one load at systems that differ in their number of workers."""
    load = plan.replicas_load
    if not selection.wants(FAMILY, str(load)):
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        systems = {
            _name(count): stack.enter_context(
                our_services(
                    Path(name) / str(count), Deployment(environment={_VARIABLE: str(count)})
                )
            )
            for count in plan.workers
        }
        yield from storing_rows(FAMILY, senders, systems, [load], plan.rounds, _name(1))


def _name(count: int) -> str:
    return f"{count} worker{'s' if count > 1 else ''}"
