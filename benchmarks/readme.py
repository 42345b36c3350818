"""The README's summary of the results: for each family, how it compares with its peer.

Written between two comments by the run that writes the committed results, so that nobody has to
remember which sentence a new figure makes wrong.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.samples import Row, format_ratio
from benchmarks.systems import SPOOLED

README = Path(__file__).parent.parent / "README.md"
_BEGIN, _END = "<!-- benchmarks -->", "<!-- end of benchmarks -->"
_OURS = "dimse-ingestion"
_EVEN = 1.0


def update(readme: Path, rows: Sequence[Row], origin: str) -> None:
    """Replace the summary in a README; `origin` says when and where it was measured."""
    before, rest = readme.read_text().split(_BEGIN)
    _, after = rest.split(_END)
    readme.write_text(f"{before}{_BEGIN}\n{summary(rows, origin)}\n{_END}{after}")


def read_summary(readme: Path) -> str:
    """Return the summary in a README."""
    return readme.read_text().split(_BEGIN)[1].split(_END)[0].strip()


def summary(rows: Sequence[Row], origin: str) -> str:
    """Return a line for each family and baseline, in Markdown."""
    lines = [
        f"Measured: {origin}. The ratio is operations a second, ours divided by the other's:",
        "above 1 ours is ahead, below 1 behind.",
        "",
        "| | against | ratio, median (least to most) | ahead in | best | worst |",
        "|---|---|---|---|---|---|",
        *_lines(rows),
    ]
    return "\n".join(lines)


def _lines(rows: Iterable[Row]) -> Iterator[str]:
    own = [row for row in rows if row.ratio is not None and row.system.startswith(_OURS)]
    groups = defaultdict[tuple[str, str], list[Row]](list)
    for row in own:
        groups[_promise(row), row.baseline].append(row)
    for (family, baseline), each in groups.items():
        ranked = sorted(each, key=lambda row: row.ratio or _EVEN)
        ratios = [row.ratio or _EVEN for row in ranked]
        ahead = sum(ratio >= _EVEN for ratio in ratios)
        span = f"{format_ratio(ratios[0])} to {format_ratio(ratios[-1])}"
        cells = [
            family,
            baseline,
            f"{format_ratio(_median(ratios))} ({span})",
            f"{ahead} of {len(ratios)}",
            _name(ranked[-1]),
            _name(ranked[0]),
        ]
        yield f"| {' | '.join(cells)} |"


def _promise(row: Row) -> str:
    """Return a row's family; what is answered when it is spooled is a family of its own."""
    return row.family + row.system.removeprefix(_OURS) * (row.system == SPOOLED)


def _median(ratios: Sequence[float]) -> float:
    """Return the geometric median: between half and twice as fast stands even."""
    lower, upper = ratios[(len(ratios) - 1) // 2], ratios[len(ratios) // 2]
    return math.sqrt(lower * upper)


def _name(row: Row) -> str:
    return row.case + row.system.removeprefix(_OURS)
