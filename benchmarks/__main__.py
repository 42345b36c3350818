"""`make bench`: the product against DCMTK, pynetdicom and Orthanc, and the limits beside.

Prints each row when it is measured, and writes results.json, table.md, chart.svg and the README's
summary. A part (`--only`), or another folder (`--output`), leaves the committed results alone.
"""

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import (
    compressing,
    distance,
    filling,
    growth,
    limits,
    moving,
    receiving,
    retrieving,
    searching,
    storing,
)
from benchmarks.machine import describe, load_average
from benchmarks.plan import PLANS, Plan, Selection
from benchmarks.readme import README, update
from benchmarks.report import (
    RESULTS,
    Results,
    by_family,
    describe_origin,
    read,
    table,
    write,
)
from benchmarks.requirements import missing
from benchmarks.samples import Row
from benchmarks.sender import Senders, open_senders

Family = Callable[[Plan, Senders, Selection], Iterator[list[Row]]]
_PARTS = Path("build/benchmarks")
FAMILIES: Sequence[Family] = (
    receiving.rows,
    storing.folder_rows,
    storing.minio_rows,
    distance.rows,
    compressing.rows,
    growth.replicas_rows,
    growth.workers_rows,
    searching.rows,
    filling.rows,
    retrieving.rows,
    moving.rows,
    limits.rows,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    options = _parser().parse_args(arguments)
    if options.render:
        folder = options.output or RESULTS
        _publish(read(folder), folder)
        return
    if absent := missing():
        sys.exit(f"There is nothing to compare with: {absent}.")
    results = measure(options.form, Selection(options.only))
    if not results.rows:
        sys.exit(f"No row has {options.only!r} in its name.")
    folder = options.output or _folder(options)
    _publish(results, folder)
    print(f"\n{len(results.rows)} rows in {results.seconds:.0f} s: {folder}/table.md")
    if results.failures:
        sys.exit(f"Not measured to the end: {', '.join(results.failures)}.")


def _folder(options: argparse.Namespace) -> Path:
    """Return where results go: only whole runs replace the committed ones."""
    return RESULTS if options.form != "short" and not options.only else _PARTS


def _publish(results: Results, folder: Path) -> None:
    """Write the results; those that are committed are summarized in the README, too."""
    write(results, folder)
    if folder.resolve() == RESULTS:
        update(README, results.rows, describe_origin(results))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--long", dest="form", action="store_const", const="long")
    forms.add_argument(
        "--short", dest="form", action="store_const", const="short", help="seconds, to see it work"
    )
    parser.add_argument("--only", metavar="ROW", default="", help="rows with this in their name")
    parser.add_argument("--output", metavar="FOLDER", type=Path)
    parser.add_argument(
        "--render", action="store_true", help="write table and chart of results.json again"
    )
    parser.set_defaults(form="default")
    return parser


def measure(form: str, selection: Selection) -> Results:
    """Measure all families in a form of `PLANS`."""
    started, before = time.monotonic(), load_average()
    rows: list[Row] = []
    failures: list[str] = []
    with open_senders() as senders:
        for family in FAMILIES:
            try:
                for of_case in family(PLANS[form], senders, selection):
                    rows += of_case
                    _show(of_case, time.monotonic() - started)
            except Exception:  # noqa: BLE001 - the other families are worth measuring
                traceback.print_exc()
                failures.append(family.__module__.removeprefix("benchmarks."))
    return Results(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        plan=form,
        seconds=time.monotonic() - started,
        load_average=(before, load_average()),
        machine=describe(Path(tempfile.gettempdir())),
        rows=by_family(rows),
        failures=failures,
    )


def _show(rows: list[Row], seconds: float) -> None:
    print(f"\n{rows[0].family}, after {seconds:.0f} s")
    print("\n".join(table(rows)), flush=True)


if __name__ == "__main__":
    main()
