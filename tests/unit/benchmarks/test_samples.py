"""The statistics of the benchmarks."""

from collections.abc import Mapping

import pytest

from benchmarks.samples import Outcome, Sample, percentile, summarize


def sample(
    operations: int,
    seconds: float,
    latencies: tuple[float, ...] = (),
    cpu: Mapping[str, float] | None = None,
) -> Sample:
    outcome = Outcome(operations, operations * 1_000_000, seconds, latencies)
    return Sample(outcome, cpu or {}, {"server": 2**20})


@pytest.mark.parametrize(
    ("percent", "value"), [(1, 1.0), (50, 50.0), (99, 99.0), (99.5, 100.0), (100, 100.0)]
)
def test_a_percentile_is_a_value_that_was_measured(percent: float, value: float) -> None:
    assert percentile((float(each) for each in range(100, 0, -1)), percent) == value


def test_there_is_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_rate_and_throughput_are_medians_of_the_rounds() -> None:
    (row,) = summarize("f", "c", {"a": [sample(10, 1.0), sample(10, 2.0), sample(10, 10.0)]})

    assert (row.rate, row.megabytes, row.operations, row.rounds) == (5.0, 5.0, 30, 3)


def test_the_ratio_is_the_median_of_the_ratios_within_rounds() -> None:
    rounds = {
        "ours": [sample(10, 1.0), sample(10, 4.0), sample(10, 1.0)],
        "peer": [sample(10, 2.0), sample(10, 4.0), sample(10, 3.0)],
    }

    ours, peer = summarize("f", "c", rounds, "peer")

    assert (ours.ratio, ours.baseline) == (2.0, "peer")
    assert (peer.ratio, peer.baseline) == (None, "")


def test_a_case_without_its_baseline_has_no_ratio() -> None:
    (row,) = summarize("f", "c", {"ours": [sample(1, 1.0)]}, "peer")

    assert (row.ratio, row.baseline) == (None, "")


def test_latencies_of_all_rounds_are_ranked_together() -> None:
    rounds = [sample(2, 1.0, (0.001, 0.002)), sample(2, 1.0, (0.003, 0.010))]

    (row,) = summarize("f", "c", {"a": rounds})

    assert (row.p50_ms, row.p99_ms, row.first_ms) == (2.0, 10.0, None)


def test_cpu_and_memory_are_given_for_each_process() -> None:
    rounds = [sample(10, 1.0, cpu={"proxy": 0.1}), sample(10, 1.0, cpu={"proxy": 0.3})]

    (row,) = summarize("f", "c", {"a": rounds})

    assert row.cpu_ms == pytest.approx({"proxy": 20.0})
    assert row.memory_mib == {"server": 1.0}
