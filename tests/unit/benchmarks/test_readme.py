"""The README's summary of the benchmarks."""

from pathlib import Path

import pytest

from benchmarks.readme import README, read_summary, summary, update
from benchmarks.report import RESULTS, describe_origin, read
from benchmarks.samples import Row


def row(case: str, ratio: float | None, system: str = "dimse-ingestion") -> Row:
    baseline = "" if ratio is None else "Orthanc"
    return Row("storing", case, system, 3, 30, 1.0, 1.0, baseline=baseline, ratio=ratio)


ROWS = [
    row("3 KB", 0.25),
    row("3 KB", None, "Orthanc"),
    row("CT", 1.0, "dimse-ingestion, SQLite"),
    row("500 MB", 4.0),
    row("500 MB", None, "Orthanc"),
]


def test_a_family_has_its_median_and_its_extremes() -> None:
    assert summary(ROWS, "2026-01-01").splitlines()[-1] == (
        "| storing | Orthanc | 1.00 (0.25 to 4.00) | 2 of 3 | 500 MB | 3 KB |"
    )


def test_half_and_twice_as_fast_are_even_in_the_median() -> None:
    assert "| 1.00 (0.50 to 2.00) |" in summary([row("a", 0.5), row("b", 2.0)], "")


def test_a_peer_has_no_line_of_its_own() -> None:
    assert "| storing |" not in summary([row("3 KB", 2.0, "pynetdicom")], "")


def test_only_the_text_between_the_comments_is_replaced(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- benchmarks -->\nold\n<!-- end of benchmarks -->\nafter\n")

    update(readme, ROWS, "2026-01-01")

    text = readme.read_text()
    assert text.startswith("before\n<!-- benchmarks -->\nMeasured: 2026-01-01.")
    assert text.endswith("\n<!-- end of benchmarks -->\nafter\n")
    assert "old" not in text


@pytest.mark.parametrize("name", ["table.md", "chart.svg"])
def test_what_is_committed_beside_the_results_is_there(name: str) -> None:
    assert (RESULTS / name).exists()


def test_the_readme_has_the_summary_of_the_committed_results() -> None:
    results = read(RESULTS)

    assert read_summary(README) == summary(results.rows, describe_origin(results))
