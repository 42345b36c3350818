"""Run the faults, print each row when it is counted, and write the table.

Exits with 1 where an acknowledged instance was lost, wrong or doubled, or a fault did not run to
its end. `--only` runs a part, whose table goes to build/faults.
"""

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from faults import backlog
from faults.fault import MODES, Fault, prepared, problem
from faults.report import RESULTS, Row, line, table, write
from faults.scenarios import FAULTS
from faults.system import open_system

_PART = Path("build/faults")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, print and write."""
    options = _parser().parse_args(arguments)
    faults = (*FAULTS, backlog.of(options.backlog)) if options.backlog else FAULTS
    chosen = [each for each in faults if options.only in each.name]
    if not chosen:
        sys.exit(f"No fault has {options.only!r} in its name.")
    started = time.monotonic()
    rows = []
    for row in _rows(chosen, options.acknowledge or MODES):
        print(line(row), flush=True)
        rows.append(row)
    origin = f"{datetime.now(UTC):%Y-%m-%d}, {len(rows)} rows in {time.monotonic() - started:.0f} s"
    folder = _PART if options.only or options.acknowledge else RESULTS
    write(rows, folder, origin)
    print(f"\n{folder}/table.md: {origin}")
    if wrong := [row for row in rows if not row.is_clean]:
        sys.exit(f"Not clean:\n{table(wrong)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("--only", metavar="FAULT", default="", help="faults with this in the name")
    parser.add_argument(
        "--backlog", metavar="INSTANCES", type=int, help="drain a spool of so many, too"
    )
    parser.add_argument("--acknowledge", action="append", choices=MODES)
    return parser


def _rows(chosen: Sequence[Fault], modes: Sequence[str]) -> Iterator[Row]:
    for fault in chosen:
        for mode in modes:
            if mode in fault.modes:
                yield run(fault, mode)


def run(fault: Fault, acknowledge: str) -> Row:
    """Run one fault, and count."""
    if why_not := problem(fault):
        return Row(fault.name, acknowledge, None, why_not)
    with tempfile.TemporaryDirectory(prefix="dimse-faults-") as name:
        folder = Path(name)
        deployment = replace(fault.deployment, acknowledge=acknowledge)
        try:
            with prepared(fault, folder), open_system(folder, deployment) as system:
                return Row(fault.name, acknowledge, fault.measure(system, folder))
        except Exception as error:  # noqa: BLE001 - the other faults are worth counting
            traceback.print_exc()
            return Row(fault.name, acknowledge, None, f"not to its end: {type(error).__name__}")


if __name__ == "__main__":
    main()
