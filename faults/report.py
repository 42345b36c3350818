"""The table of `make faults`, in Markdown and JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from faults.tally import Tally

RESULTS = Path("faults/results")
_HEAD = (
    "| fault | acknowledge | C-STOREs | 0000 | other responses | lost | wrong | doubled |"
    " recovery, s |\n|---|---|---:|---:|---|---:|---:|---:|---:|"
)


@dataclass(frozen=True)
class Row:
    """One fault in one mode; `problem` says why it has no tally."""

    fault: str
    acknowledge: str
    tally: Tally | None
    problem: str = ""

    @property
    def is_clean(self) -> bool:
        """Return whether nothing was lost, wrong or doubled, and it ran to its end."""
        return self.tally is not None and self.tally.is_clean


def line(row: Row) -> str:
    """Return the row of the table."""
    if row.tally is None:
        return f"| {row.fault} | {row.acknowledge} | | | {row.problem} | | | | |"
    tally = row.tally
    refused = (
        ", ".join(f"{status} ({count} times)" for status, count in tally.refused.items()) or "none"
    )
    return (
        f"| {row.fault} | {row.acknowledge} | {tally.operations} | {tally.acknowledged} "
        f"| {refused} | {tally.lost} | {tally.wrong} | {tally.doubled} | {tally.recovery:.1f} |"
    )


def table(rows: Sequence[Row]) -> str:
    """Return the whole table."""
    return "\n".join([_HEAD, *map(line, rows)])


def write(rows: Sequence[Row], folder: Path, origin: str) -> None:
    """Write table.md and results.json."""
    folder.mkdir(parents=True, exist_ok=True)
    text = (
        "# Faults\n\nModalities send while one thing is broken and repaired; each sends an "
        "instance again until its status is 0000. **0000** counts acknowledged instances; **lost** "
        "are those without an object or a catalogue entry, **wrong** those with other bytes, "
        "**doubled** those with two entries. **Recovery** is the time from the repair to the next "
        f"0000.\n\n{origin}\n\n{table(rows)}\n"
    )
    (folder / "table.md").write_text(text)
    content = [asdict(row) for row in rows]
    (folder / "results.json").write_text(json.dumps(content, indent=1) + "\n")
