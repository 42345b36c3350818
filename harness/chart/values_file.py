"""values.yaml with its comments: each value with its sentence, schema fragment and default.

values.yaml describes the convention at its head. A key without a comment, or an empty comment, is
an error, so that every value is described.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Path_ = tuple[str, ...]


class ValuesFileMistake(Exception):
    """A comment or key of values.yaml against the convention; the message names the line."""


@dataclass(frozen=True)
class Value:
    """One value that can be set; `fragment` is merged over the schema that its default shows."""

    path: Path_
    sentence: str
    fragment: dict[str, Any]
    default: Any

    @property
    def name(self) -> str:
        """The path as --set has it: `ingestion.autoscaling.enabled`."""
        return ".".join(self.path)


@dataclass(frozen=True)
class Section:
    """The section below one `# ## ` line: its heading, its text, its values."""

    heading: str
    text: str
    values: tuple[Value, ...]


def read(file: Path) -> tuple[Section, ...]:
    """Return the sections of a values file in their order. Raises ValuesFileMistake."""
    lines = file.read_text(encoding="utf-8").splitlines()
    root = yaml.compose("\n".join(lines), Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise ValuesFileMistake(f"{file} holds no values.")
    values = [(node.start_mark.line, value) for node, value in _values(root, (), lines)]
    return tuple(_sections(lines, values))


def values_of(file: Path) -> tuple[Value, ...]:
    """Return every value of a values file in its order."""
    return tuple(value for section in read(file) for value in section.values)


def _values(
    group: yaml.MappingNode, above: Path_, lines: list[str]
) -> Iterator[tuple[yaml.Node, Value]]:
    for key, content in group.value:
        path = (*above, key.value)
        message = _comment_above(key.start_mark.line, lines)
        if any(line.startswith("-- ") for line in message):
            yield key, Value(path, _sentence(message), _fragment(message, path), _default(content))
        elif isinstance(content, yaml.MappingNode) and content.value:
            yield from _values(content, path, lines)
        else:
            raise ValuesFileMistake(f"{'.'.join(path)} has no comment: begin one with `# --`.")


def _comment_above(line: int, lines: list[str]) -> list[str]:
    """Return the comment lines right above a line, without their signs."""
    message: list[str] = []
    for each in reversed(lines[:line]):
        if not each.strip().startswith("#"):
            break
        message.append(each.strip().lstrip("#").strip())
    return message[::-1]


def _sentence(message: list[str]) -> str:
    first_start = next(at for at, line in enumerate(message) if line.startswith("-- "))
    words = [message[first_start].removeprefix("-- ")]
    for line in message[first_start + 1 :]:
        if line.startswith("@schema "):
            break
        words.append(line)
    return " ".join(words)


def _fragment(message: list[str], path: Path_) -> dict[str, Any]:
    written = [line.removeprefix("@schema ") for line in message if line.startswith("@schema ")]
    if not written:
        return {}
    fragment = yaml.safe_load(written[0])
    if len(written) > 1 or not isinstance(fragment, dict):
        raise ValuesFileMistake(f"{'.'.join(path)}: `# @schema` is one line, a map in YAML.")
    return fragment


def _default(node: yaml.Node) -> Any:
    return yaml.safe_load(yaml.serialize(node))


def _sections(lines: list[str], values: list[tuple[int, Value]]) -> Iterator[Section]:
    starts = [at for at, line in enumerate(lines) if line.startswith("# ## ")]
    if not starts or (values and values[0][0] < starts[0]):
        raise ValuesFileMistake("Before the first value a section begins: `# ## ` and its heading.")
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield Section(
            heading=lines[start].removeprefix("# ## "),
            text=_text_below(start, lines),
            values=tuple(value for line, value in values if start < line < end),
        )


def _text_below(start: int, lines: list[str]) -> str:
    words: list[str] = []
    for line in lines[start + 1 :]:
        if not re.match(r"# (?!-- |@schema )", line):
            break
        words.append(line.removeprefix("# "))
    return " ".join(words)
