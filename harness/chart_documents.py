"""`python -m harness.chart_documents`: what is generated of the charts.

README.md, values.schema.json and the custom resources' fields are made from values.yaml alone,
the same bytes each time; `--check` writes nothing and ends with 1 where a file is not current.
"""

import sys
from pathlib import Path

from harness.chart import CHART, OPERATOR_CHART
from harness.chart.custom_resources import fields_text
from harness.chart.readme import readme_text
from harness.chart.schema import schema_text
from harness.chart.values_file import ValuesFileMistake, read


def documents() -> dict[Path, str]:
    """Return each generated file with the content it should have. Raises ValuesFileMistake."""
    fields = {OPERATOR_CHART / "files" / "fields.json": fields_text(read(CHART / "values.yaml"))}
    return _of_chart(CHART) | _of_chart(OPERATOR_CHART) | fields


def outdated() -> list[Path]:
    """Return the files that are not as they should be."""
    return [
        file
        for file, content in documents().items()
        if not file.exists() or file.read_text(encoding="utf-8") != content
    ]


def _of_chart(chart: Path) -> dict[Path, str]:
    sections = read(chart / "values.yaml")
    values = [value for section in sections for value in section.values]
    return {
        chart / "README.md": readme_text(chart, sections),
        chart / "values.schema.json": schema_text(values, chart.name),
    }


def main(arguments: list[str]) -> int:
    """Write the files, or with `--check` only compare them; return the exit status."""
    try:
        stale = outdated()
    except ValuesFileMistake as mistake:
        return _print_error(str(mistake))
    if "--check" in arguments and stale:
        return _print_error(
            "\n".join(f"{file} is not current: run make chart-documents." for file in stale)
        )
    for file in stale:
        file.write_text(documents()[file], encoding="utf-8")
    return 0


def _print_error(sentence: str) -> int:
    sys.stderr.write(f"{sentence}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
