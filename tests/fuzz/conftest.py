"""The seed of a run is printed at its begin, so that a failure on another machine is repeated."""

from tests.fuzz.space import seconds, seed


def pytest_report_header() -> str:
    return f"fuzz: FUZZ_SEED={seed()}, {seconds():.0f} s for each service"
