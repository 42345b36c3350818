"""Rounds: the systems of a case take turns, so that a busy machine hurts all of them alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.processes import Processes
from benchmarks.samples import Outcome, Row, Sample, summarize


@dataclass(frozen=True)
class Contestant:
    """One system of a case: what it is to do, and its processes."""

    operate: Callable[[], Outcome]
    processes: Processes


def measure(
    family: str,
    case: str,
    contestants: Mapping[str, Contestant],
    rounds: int,
    baseline: str = "",
) -> list[Row]:
    """Have each contestant operate once a round; another one begins each round."""
    samples: dict[str, list[Sample]] = {name: [] for name in contestants}
    names = list(contestants)
    for number in range(rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            samples[name].append(_sample(contestants[name]))
    return summarize(family, case, samples, baseline)


def _sample(contestant: Contestant) -> Sample:
    processes = contestant.processes
    processes.reset_peak()
    before = processes.cpu()
    outcome = contestant.operate()
    spent = {name: after - before[name] for name, after in processes.cpu().items()}
    return Sample(outcome, spent, processes.peak_memory())
