"""Settings from a YAML file (`proxy.yaml`): by field name, in snake or camel case, in sections.

Only the file's form is checked here: it is YAML, and has known settings, each once. Values are
checked by the settings' types (see `types`).
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from dimse_ingestion.settings.errors import ConfigurationMistake

_DEEPEST = 4
"""Maximum nesting of sections: no setting's name has more words that could be sections."""


class _Loader(yaml.SafeLoader):
    """Refuses duplicate keys in a mapping, of which PyYAML would keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping. Raises ConstructorError."""
        seen = set[object]()
        for key_node, _ in node.value:
            key = getattr(key_node, "value", None)
            if isinstance(key, str) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key} stands twice", key_node.start_mark
                )
            seen.add(key if isinstance(key, str) else object())
        return super().construct_mapping(node, deep)


def read_settings(file: Path, names: Mapping[str, str]) -> dict[str, Any]:
    """Return the file's settings by field name; sections may group them (`nats: {url: ...}`).

    Raises ConfigurationMistake with a sentence for each mistake; `names` are the known settings.
    """
    content = _content(file)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigurationMistake([f"{file} must hold settings as `key: value` lines."])
    settings = _flat(file, content)
    if unknown := [_unknown(file, key, names) for key in settings if key not in names]:
        raise ConfigurationMistake(unknown)
    return settings


def parse_value(text: str) -> Any:
    """Return the value that a text in JSON or YAML stands for. Raises ValueError."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - is a SafeLoader
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        raise ValueError("it can't be read: give JSON or YAML in one line.") from None


def _content(file: Path) -> Any:
    try:
        return yaml.load(file.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - is a SafeLoader
    except OSError as error:
        raise ConfigurationMistake([f"{file} can't be read: {error.strerror}."]) from None
    except UnicodeDecodeError:
        raise ConfigurationMistake([f"{file} is not UTF-8 text."]) from None
    except yaml.MarkedYAMLError as broken:
        raise ConfigurationMistake([_where(file, broken)]) from None
    except yaml.reader.ReaderError as broken:
        code = broken.character
        number = code if isinstance(code, int) else ord(str(code)[:1] or " ")
        raise ConfigurationMistake(
            [f"{file} is not YAML: remove the character U+{number:04X}."]
        ) from None
    except (ValueError, TypeError, RecursionError):  # an invalid date or number, a nested key
        raise ConfigurationMistake(
            [f"{file} is not YAML of settings: give `key: value` lines."]
        ) from None


def _where(file: Path, broken: yaml.MarkedYAMLError) -> str:
    mark = broken.problem_mark or broken.context_mark
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    problem = " ".join((broken.problem or broken.context or "it can't be read").split())
    return f"{file} is not YAML: {place}{problem}."


def _flat(
    file: Path, section: Mapping[Any, Any], above: str = "", depth: int = 0
) -> dict[str, Any]:
    if depth > _DEEPEST:  # by an alias a section can even hold itself
        raise ConfigurationMistake(
            [f"{file} nests sections more than {_DEEPEST} deep: give `key: value` lines."]
        )
    flat: dict[str, Any] = {}
    for key, value in section.items():
        name = above + snake_case(str(key))
        is_section = isinstance(value, Mapping)
        below = _flat(file, value, f"{name}_", depth + 1) if is_section else {name: value}
        if duplicates := sorted(flat.keys() & below.keys()):
            raise ConfigurationMistake(
                [f"{file}: {duplicates[0]} is given twice: keep one of them."]
            )
        flat |= {each: given for each, given in below.items() if given is not None}
    return flat


def snake_case(key: str) -> str:
    """Return a key in snake case: `natsUrl`, `nats-url` and `nats_url` are one key."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).replace("-", "_").lower()


def camel_case(name: str) -> str:
    """Return a field's name as the documentation writes its key: `natsUrl`."""
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def _unknown(file: Path, key: str, names: Mapping[str, str]) -> str:
    close = get_close_matches(key, names, n=1)
    cure = f"did you mean {close[0]}?" if close else f"the settings are {', '.join(sorted(names))}."
    return f"{file}: {key} is not a setting: {cure}"
