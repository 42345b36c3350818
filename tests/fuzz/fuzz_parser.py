"""Fuzz one parser, guided by the branches that an input reaches (libFuzzer, by atheris).

`python -m tests.fuzz.fuzz_parser NAME CORPUS [libFuzzer's options]`; it ends with an error and the
input where a parser raises what it may not, takes more than thirty seconds, or two gigabytes.
"""

import sys

import atheris  # type: ignore[import-untyped] # it has no types

with atheris.instrument_imports(include=["dimse_ingestion", "tests.fuzz.parsers"]):
    from tests.fuzz.parsers import TARGETS

_OPTIONS = ("-timeout=30", "-rss_limit_mb=2048", "-max_len=8192", "-print_final_stats=1")


def main() -> None:
    """Fuzz until a finding or the end of the time."""
    name, *others = sys.argv[1:]
    atheris.Setup([sys.argv[0], *_OPTIONS, *others], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
