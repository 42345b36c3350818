"""Storing over a distance: every byte takes 20 ms to the other end.

Ours has the distance between proxy and NATS, where a hospital has it. Orthanc has no part on the
modality's side, so that the association itself goes over the distance.
"""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks.plan import Plan, Selection
from benchmarks.relay import delaying_relay
from benchmarks.samples import Row
from benchmarks.sender import Senders
from benchmarks.storing import storing_rows
from benchmarks.systems import ORTHANC, OURS, Deployment, orthanc, our_services


def rows(plan: Plan, senders: Senders, selection: Selection) -> Iterator[list[Row]]:
    """Measure each load at ours and at Orthanc, each with its distance."""
    family = f"storing over {plan.delay * 2000:.0f} ms there and back"
    loads = [load for load in plan.distance if selection.wants(family, str(load))]
    if not loads:
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        deployment = Deployment(delay=plan.delay)
        ours = stack.enter_context(our_services(Path(name) / "ours", deployment))
        near = stack.enter_context(orthanc(Path(name) / "orthanc"))
        far = replace(near, port=stack.enter_context(delaying_relay(near.port, plan.delay)))
        yield from storing_rows(family, senders, {OURS: ours, ORTHANC: far}, loads, plan.rounds)
