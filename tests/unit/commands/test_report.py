from io import StringIO

import pytest
from rich.console import Console

from dimse_ingestion.commands.report import Report
from dimse_ingestion.failures import Unavailable


@pytest.mark.parametrize("text", ["[/A]", "[bold]x", "a\\[b", "%s {0}"])
async def test_brackets_in_what_is_reported_are_no_markup(text: str) -> None:
    out = StringIO()
    report = Report(Console(file=out))

    async def fails() -> None:
        raise Unavailable(text)

    report.ok(text)
    report.warn(text, text)
    assert not report.failed
    report.fail(text, text)
    assert not await report.check(text, fails)
    expected = [f"ok      {text}", f"warning {text}: {text}", *2 * [f"wrong   {text}: {text}"]]
    assert out.getvalue().splitlines() == expected
    assert report.failed
