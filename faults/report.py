"""The table of `make faults`, in Markdown and JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from faults.tally import Tally

RESULTS = Path("faults/results")
_HEAD = (
    "| fault | acknowledge | operations | 0000 | other responses | lost | wrong | doubled |"
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
        "# Faults\n\nModalities store while one thing is broken and repaired; each sends an "
        "instance again until its status is 0000. **0000** counts acknowledged instances; **lost** "
        "are those without an object or a catalogue entry, **wrong** those with other bytes, "
        "**doubled** those with two entries. In rows of storage commitment, the operations are a "
        "console's requests for what is stored; lost, too, is a transaction without a report, "
        "wrong a reference with a wrong result, doubled a report that contradicts an earlier one. "
        "In rows of C-MOVE and C-GET, the operations retrieve one study again and again; lost is "
        "an instance that was counted as completed and did not arrive, wrong one with other bytes, "
        "doubled one sent again after success. **Recovery** is the time from the repair to the "
        "next 0000, of commitment to the next report, of a spool until it is drained."
        f"\n\n{origin}\n\n{table(rows)}\n"
    )
    (folder / "table.md").write_text(text)
    content = [asdict(row) for row in rows]
    (folder / "results.json").write_text(json.dumps(content, indent=1) + "\n")
