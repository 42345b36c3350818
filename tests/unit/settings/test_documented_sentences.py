"""The sentences that the documentation quotes are those of the code."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = sorted((ROOT / "docs").glob("*.md"))
RUNBOOK = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8").split("\n# Runbook\n")[1]
SENTENCE_COLUMNS = ("sentence", "`reason`")
INSERTED = (
    r"\*[^*]+\*|`[^`]*`|\d+|…|[()]|\b[A-Z]+(?:_[A-Z]+)+\b|\bK_SINK\b|\bHTTP\b|\bTLS\b"
    r"|^0?[0-9A-F]{3,4} "  # a status stands before the sentence
    r"|\b(?:[Tt]he (?:catalogue|event sink))(?:'s)?\b|\bor event sink\b"
    r"|Missing (?:\w+ ){1,3}(?:ConfigMap|Secret)\b|in catalogue Secret\b"
    r"|\b(?:no queries|the query|no events|the event)\b"
)
"""What the code inserts into a sentence, or the page abbreviates."""


def quoted_sentences() -> Iterator[str]:
    """Yield what the runbook quotes: cells of its tables, and sentences in italics."""
    for table in re.findall(r"(?:^\|.*\n)+", RUNBOOK, re.MULTILINE):
        lines = table.splitlines()
        header, _, *rows = (re.split(r"\s*\|\s*", line)[1:-1] for line in lines)
        for column in set(header) & set(SENTENCE_COLUMNS):
            yield from (row[header.index(column)] for row in rows)
    yield from re.findall(r"\*([A-Z][^*|]*\.)\*", RUNBOOK)


def fixed_parts(cell: str) -> Iterator[str]:
    """Yield the parts that must be in the code word by word: at least three words in a row."""
    for sentence in re.split(r"\.? / |; ?|(?<=[a-z])\. ", cell):
        for part in re.split(INSERTED, sentence):
            text = part.strip(" .:,")
            if len(text.split()) > 2:
                yield text


@cache
def sentences_of_the_code() -> str:
    """Return all strings that are values, not docstrings, a line each."""
    nodes = [
        node
        for file in (ROOT / "src").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    ]
    docstrings = {node.value for node in nodes if isinstance(node, ast.Expr)}
    constants = {node for node in nodes if isinstance(node, ast.Constant)} - docstrings
    return "\n".join(node.value for node in constants if isinstance(node.value, str))


@pytest.mark.parametrize("cell", sorted({*quoted_sentences()} - {""}))
def test_a_quoted_sentence_is_one_of_the_code(cell: str) -> None:
    if cell.startswith("a sentence of"):
        return  # a reference to another table
    assert not [part for part in fixed_parts(cell) if part not in sentences_of_the_code()]


def test_most_sentences_have_a_part_to_compare() -> None:
    cells = {*quoted_sentences()}
    assert len(cells) > 100
    assert len([cell for cell in cells if list(fixed_parts(cell))]) > 0.8 * len(cells)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_quoted_log_line_is_one_of_the_code(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    quoted = re.findall(r"`(?!Missing )([A-Z][a-z]+ [a-z][^`|]*\.)`", text)
    composed = [re.sub(r"^The \w+ ", "", each) for each in quoted]  # of a service's name
    assert not [each for each in composed if each not in sentences_of_the_code()]
