"""Rules for every test: none may skip where all it needs must be installed; logs of failures."""

import os
from asyncio import AbstractEventLoop
from collections.abc import Callable, Generator
from pathlib import Path

import hypothesis
import pytest

from dimse_ingestion.observability.event_loop import new_event_loop
from harness.service_logs import logs_of, serious_lines

# deadline and too_slow measure elapsed time, which a busy machine decides and not the code under
# test; the same examples in each run of continuous integration fail it for a change, not by chance
hypothesis.settings.register_profile(
    "no clock",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    derandomize=bool(os.environ.get("DIMSE_TESTS_SAME_EXAMPLES")),
)
hypothesis.settings.load_profile("no clock")

_LET_NONE_SKIP = bool(os.environ.get("DIMSE_TESTS_LET_NONE_SKIP"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure that says what was missing; add services' logs to a failure."""
    report = yield
    if _LET_NONE_SKIP and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} skipped, but nothing may skip here: {reason}"
    if report.failed and (lines := serious_lines(logs_of(_folder_of(item)))):
        report.sections.append(("Warnings and errors of services", lines))
    return report


def _folder_of(item: pytest.Item) -> Path | None:
    """Return the `tmp_path` of a test that has one."""
    folder = getattr(item, "funcargs", {}).get("tmp_path")
    return folder if isinstance(folder, Path) else None


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Yield the same for a module that skips as a whole."""
    report = yield
    if _LET_NONE_SKIP and report.outcome == "skipped":
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} skipped, but nothing may skip here"
    return report


_LONGEST_ID = 80


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a long value by its argument, which pytest numbers.

    Workers of pytest-xdist collect for themselves and must come to the same names, which the
    content of an archive with the time in it, say, does not give.
    """
    return argname if isinstance(val, str | bytes) and len(val) > _LONGEST_ID else None


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], AbstractEventLoop]]:
    """Run asynchronous tests on the event loop that the services run on."""
    return {"service": new_event_loop}
