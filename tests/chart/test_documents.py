"""README.md and values.schema.json say what values.yaml says, and the generator refuses silence."""

from pathlib import Path

import pytest
from jsonschema import Draft7Validator

from harness.chart import CHART
from harness.chart.schema import schema_of
from harness.chart.values_file import ValuesFileMistake, read, values_of
from harness.chart_documents import documents, main


def test_generated_files_are_current() -> None:
    for file, content in documents().items():
        assert file.read_text(encoding="utf-8") == content, f"{file.name}: run make chart-documents"


def test_check_reports_by_its_status() -> None:
    assert main(["--check"]) == 0


def test_schema_is_a_schema_and_takes_the_defaults_it_shows() -> None:
    schema = schema_of(values_of(CHART / "values.yaml"))
    Draft7Validator.check_schema(schema)
    for value in values_of(CHART / "values.yaml"):
        own = schema
        for key in value.path:
            own = own["properties"][key]
        errors = [error.message for error in Draft7Validator(own).iter_errors(value.default)]
        assert not errors, value.name


def test_readme_reports_every_value() -> None:
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    for value in values_of(CHART / "values.yaml"):
        assert f"| `{value.name}` |" in readme


def test_sentence_may_go_on_and_a_section_has_its_text(tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(
        "# ## First\n# What it is about.\n\n"
        "group:\n"
        "  # -- A sentence that goes\n  # on.\n  # @schema {enum: [a, b]}\n  key: a\n"
    )
    (section,) = read(file)
    (value,) = section.values
    assert (section.heading, section.text) == ("First", "What it is about.")
    assert (value.name, value.sentence) == ("group.key", "A sentence that goes on.")
    assert (value.fragment, value.default) == ({"enum": ["a", "b"]}, "a")


@pytest.mark.parametrize(
    ("content", "output"),
    [
        ("# ## First\n\nkey: a\n", "key has no comment"),
        ("# ## First\n\n# -- One.\n# @schema {}\n# @schema {}\nkey: a\n", "is one line"),
        ("# -- One.\nkey: a\n", "a section begins"),
        ("- a\n", "holds no values"),
    ],
)
def test_what_keeps_not_to_the_convention_is_refused(
    content: str, output: str, tmp_path: Path
) -> None:
    (tmp_path / "values.yaml").write_text(content)
    with pytest.raises(ValuesFileMistake, match=output):
        read(tmp_path / "values.yaml")
