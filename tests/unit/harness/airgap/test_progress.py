import threading

import pytest

from harness.airgap.progress import Progress, clock


def test_a_stopwatch_shows_minutes_and_seconds() -> None:
    assert [clock(0.9), clock(61), clock(3600)] == ["00:00", "01:01", "60:00"]


def test_each_step_is_counted_and_printed_twice() -> None:
    output: list[str] = []
    progress = Progress(2, output.append)
    for title in ("one", "two"):
        with progress.step(title):
            pass
    assert [line.split(" ", 2)[0] for line in output] == ["[1/2]", "[1/2]", "[2/2]", "[2/2]"]
    assert output[0].endswith("one ...")
    assert "two: done in 00:00" in output[3]


def test_a_step_that_fails_is_not_reported_as_done() -> None:
    output: list[str] = []
    with pytest.raises(OSError, match="no space left"), Progress(1, output.append).step("one"):
        raise OSError("no space left")
    assert len(output) == 1


def test_a_step_that_goes_on_is_reported_again_and_again() -> None:
    reported: list[str] = []
    again = threading.Event()

    def report(line: str) -> None:
        reported.append(line)
        if len(reported) > 2:
            again.set()

    with Progress(1, report, quiet=0.01).step("building minio"):
        assert again.wait(30)
    assert all("building minio, for 00:0" in line for line in reported[1:-1])
