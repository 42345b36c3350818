"""Results as JSON, and as Markdown tables: what was measured, where, and when."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path

from benchmarks.chart import draw
from benchmarks.samples import Row

RESULTS = Path(__file__).parent / "results"
_COLUMNS = (
    "case",
    "system",
    "/s",
    "MB/s",
    "ratio",
    "p50 ms",
    "p99 ms",
    "first ms",
    "CPU ms each",
    "peak MiB",
)
_INTRODUCTION = """\
Medians of the rounds, in which the systems take turns. **/s** are operations in a second of all \
clients together; **ratio** is this rate divided by that of the system named with it, so 1 is even \
and more is better; **p50**, **p99** are of an operation from the first byte sent to the answer; \
**first** is p50 up to the first match or byte; **CPU ms each** is the processor time of each \
process for one operation, and **peak MiB** its memory; the client is the benchmark itself. \
`make bench` makes this page."""


@dataclass(frozen=True)
class Results:
    """All rows of a run, and what they depend on."""

    date: str
    plan: str
    seconds: float
    load_average: tuple[str, str]
    """Before and after: more before than a few tenths means that others used the machine."""
    machine: Mapping[str, str]
    rows: Sequence[Row] = field(default_factory=list)
    failures: Sequence[str] = ()
    """Families that ended early; what was measured until then is in `rows`."""


def write(results: Results, folder: Path) -> None:
    """Write results.json, table.md and chart.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(asdict(results), indent=1) + "\n")
    (folder / "table.md").write_text(document(results))
    (folder / "chart.svg").write_text(draw(results.rows, describe_origin(results)))


def read(folder: Path) -> Results:
    """Read results.json."""
    values = json.loads((folder / "results.json").read_text())
    values["rows"] = [Row(**row) for row in values["rows"]]
    return Results(**values)


def document(results: Results) -> str:
    """Return the Markdown page."""
    before, after = results.load_average
    facts: dict[str, str] = {
        "date": results.date,
        "form": f"{results.plan}, {results.seconds / 60:.0f} minutes",
        "load average": f"{before} before, {after} after",
        **results.machine,
    }
    if results.failures:
        facts["not measured to the end"] = ", ".join(results.failures)
    lines = ["# Benchmarks", "", _INTRODUCTION, "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in facts.items()]
    for family, rows in groupby(results.rows, lambda row: row.family):
        lines += ["", f"## {family[0].upper()}{family[1:]}", "", *table(list(rows))]
    return "\n".join(lines) + "\n"


def table(rows: Sequence[Row]) -> list[str]:
    """Return the lines of one family's table, without columns that are empty in all rows."""
    cells = [_cells(row) for row in rows]
    shown = [
        index for index in range(len(_COLUMNS)) if index < 3 or any(each[index] for each in cells)
    ]
    return [
        _line(_COLUMNS[index] for index in shown),
        _line("---" if index < 2 else "---:" for index in shown),
        *(_line(each[index] for index in shown) for each in cells),
    ]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(row: Row) -> list[str]:
    return [
        row.case,
        row.system,
        figure(row.rate),
        figure(row.megabytes) if row.megabytes else "",
        "" if row.ratio is None else f"{row.ratio:.2f} ({row.baseline})",
        _figure_or_empty(row.p50_ms),
        _figure_or_empty(row.p99_ms),
        _figure_or_empty(row.first_ms),
        _by_process(row.cpu_ms, total=True),
        _by_process(row.memory_mib, total=False),
    ]


def _by_process(values: Mapping[str, float], *, total: bool) -> str:
    """Return each process's figure; their sum without the client first, when there are several.

    Processes with less than a hundredth of the sum are left out: they had no part in it.
    """
    own = {name: value for name, value in values.items() if name != "client"}
    least = sum(own.values()) / 100
    listed = ", ".join(
        f"{name} {figure(value)}"
        for name, value in values.items()
        if value >= least or len(own) == 1
    )
    return f"**{figure(sum(own.values()))}**: {listed}" if total and len(own) > 1 else listed


def _figure_or_empty(value: float | None) -> str:
    return "" if value is None else figure(value)


def figure(value: float) -> str:
    """Return a number with two or three significant digits."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def describe_origin(results: Results) -> str:
    """Return when and where the results were measured, and how busy the machine was before."""
    processor = results.machine.get("processor", "unknown processor")
    return f"{results.date}, {processor}, load average before: {results.load_average[0]}"


def by_family(rows: Iterable[Row]) -> list[Row]:
    """Return the rows of each family together, families in the order of their first rows."""
    families: dict[str, list[Row]] = {}
    for row in rows:
        families.setdefault(row.family, []).append(row)
    return [row for each in families.values() for row in each]
