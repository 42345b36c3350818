"""Growth with replicas of the ingestion service, and with workers of it and the proxy, against one.

On a machine whose cores are busy with one of each nothing can grow: read it with the cores.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.plan import Plan, Selection
from benchmarks.samples import Row
from benchmarks.sender import Senders
from benchmarks.storing import storing_rows
from benchmarks.systems import Deployment, our_services

REPLICAS, WORKERS = "replicas of ingestion", "workers of proxy and ingestion"


@dataclass(frozen=True)
class _Growth:
    """A family of deployments that differ in how many processes they have of one kind."""

    family: str
    unit: str
    counts: Sequence[int]
    deployment: Callable[[int], Deployment]

    def name(self, count: int) -> str:
        """Return the name of the system with this count."""
        return f"{count} {self.unit}{'s' if count > 1 else ''}"


def replicas_rows(plan: Plan, senders: Senders, selection: Selection) -> Iterator[list[Row]]:
    """Measure one load at systems that differ in their number of replicas."""
    growth = _Growth(REPLICAS, "replica", plan.replicas, lambda count: Deployment(replicas=count))
    yield from _rows(growth, plan, senders, selection)


def workers_rows(plan: Plan, senders: Senders, selection: Selection) -> Iterator[list[Row]]:
    """Measure one load at systems that differ in their number of workers."""
    growth = _Growth(
        WORKERS,
        "worker",
        plan.workers,
        lambda count: Deployment(environment={"DIMSE_WORKERS": str(count)}),
    )
    yield from _rows(growth, plan, senders, selection)


def _rows(
    growth: _Growth, plan: Plan, senders: Senders, selection: Selection
) -> Iterator[list[Row]]:
    load = plan.replicas_load
    if not selection.wants(growth.family, str(load)):
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        systems = {
            growth.name(count): stack.enter_context(
                our_services(Path(name) / str(count), growth.deployment(count))
            )
            for count in growth.counts
        }
        yield from storing_rows(
            growth.family, senders, systems, [load], plan.rounds, growth.name(1)
        )
