"""Storing with and without compression on the wire, of images that scanners made.

Without a limit it shows what compression costs where the line is faster than the processors; over
a distance and below a rate limit, what it saves.
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

OFF, ZSTD = "not compressed", "zstd"


def rows(plan: Plan, senders: Senders, selection: Selection) -> Iterator[list[Row]]:
    """Measure each load without a limit, then over a distance and below each rate limit."""
    yield from _on_a_line(plan, senders, selection, "storing compressed", Deployment())
    for rate in plan.rates:
        distance = f"{plan.delay * 2000:.0f} ms there and back"
        family = f"storing compressed over {distance} and {rate}B/s"
        environment = {"DIMSE_NATS_RATE_LIMIT": rate}
        line = Deployment(delay=plan.delay, environment=environment)
        yield from _on_a_line(plan, senders, selection, family, line)


def _on_a_line(
    plan: Plan, senders: Senders, selection: Selection, family: str, line: Deployment
) -> Iterator[list[Row]]:
    loads = [load for load in plan.compressing if selection.wants(family, str(load))]
    if not loads:
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        systems = {
            system: stack.enter_context(our_services(Path(name) / value, _with(line, value)))
            for system, value in ((OFF, "off"), (ZSTD, "zstd"))
        }
        yield from storing_rows(family, senders, systems, loads, plan.rounds, OFF)


def _with(line: Deployment, value: str) -> Deployment:
    environment = {**line.environment, "DIMSE_NATS_COMPRESSION": value}
    return Deployment(delay=line.delay, environment=environment)
