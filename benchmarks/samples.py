"""What was measured, and its statistics: a row of the tables is the summary of a case's rounds."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Outcome:
    """One round: so many operations and bytes in so many seconds of the wall clock.

    `latencies` are the seconds of each operation, `first` those until its first match or byte.
    `cpu` are seconds of processors that the client used.
    """

    operations: int
    octets: int
    seconds: float
    latencies: Sequence[float] = ()
    first: Sequence[float] = ()
    cpu: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """One round at one system: its outcome, and what it cost each process."""

    outcome: Outcome
    cpu: Mapping[str, float]
    memory: Mapping[str, int]


@dataclass(frozen=True)
class Row:
    """The medians of a case at one system; None and empty where nothing was measured.

    `ratio` is the rate divided by that of `baseline`, the median of the rounds' ratios.
    """

    family: str
    case: str
    system: str
    rounds: int
    operations: int
    rate: float
    megabytes: float
    p50_ms: float | None = None
    p99_ms: float | None = None
    first_ms: float | None = None
    cpu_ms: Mapping[str, float] = field(default_factory=dict)
    memory_mib: Mapping[str, float] = field(default_factory=dict)
    baseline: str = ""
    ratio: float | None = None


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the smallest value that at least so many percent of all do not exceed."""
    ranked = sorted(values)
    if not ranked:
        raise ValueError("There is no percentile of no values.")
    position = -(-len(ranked) * percent // 100)
    return ranked[max(0, int(position) - 1)]


def format_ratio(ratio: float) -> str:
    """Return a ratio with two decimals; without any where they say nothing."""
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def summarize(
    family: str,
    case: str,
    samples: Mapping[str, Sequence[Sample]],
    baseline: str = "",
) -> list[Row]:
    """Return a row for each system; the systems have a sample of each round, in order."""
    return [
        _row(family, case, system, of_system, _base(samples, system, baseline))
        for system, of_system in samples.items()
    ]


def _base(
    samples: Mapping[str, Sequence[Sample]], system: str, baseline: str
) -> tuple[str, Sequence[Sample]]:
    return (baseline, samples[baseline]) if baseline in samples.keys() - {system} else ("", ())


def _row(
    family: str,
    case: str,
    system: str,
    samples: Sequence[Sample],
    base: tuple[str, Sequence[Sample]],
) -> Row:
    outcomes = [each.outcome for each in samples]
    latencies = [latency for each in outcomes for latency in each.latencies]
    first = [latency for each in outcomes for latency in each.first]
    ratios = [_rate(own) / _rate(other) for own, other in zip(samples, base[1], strict=False)]
    return Row(
        family=family,
        case=case,
        system=system,
        rounds=len(samples),
        operations=sum(each.operations for each in outcomes),
        rate=statistics.median(_rate(each) for each in samples),
        megabytes=statistics.median(each.octets / each.seconds / 1e6 for each in outcomes),
        p50_ms=percentile(latencies, 50) * 1000 if latencies else None,
        p99_ms=percentile(latencies, 99) * 1000 if latencies else None,
        first_ms=percentile(first, 50) * 1000 if first else None,
        cpu_ms=_medians(_cpu_ms(each) for each in samples),
        memory_mib=_medians({k: v / 2**20 for k, v in each.memory.items()} for each in samples),
        baseline=base[0],
        ratio=statistics.median(ratios) if ratios else None,
    )


def _rate(sample: Sample) -> float:
    return sample.outcome.operations / sample.outcome.seconds


def _cpu_ms(sample: Sample) -> dict[str, float]:
    spent = {**sample.cpu, **sample.outcome.cpu}
    return {name: seconds * 1000 / sample.outcome.operations for name, seconds in spent.items()}


def _medians(each: Iterable[Mapping[str, float]]) -> dict[str, float]:
    by_name: dict[str, list[float]] = {}
    for values in each:
        for name, value in values.items():
            by_name.setdefault(name, []).append(value)
    return {name: statistics.median(values) for name, values in by_name.items()}
