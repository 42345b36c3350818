"""Lists of entries that have an AE title and keys of their own: `peers`, `spaces`.

They are written as in `proxy.yaml`; the environment has the same list as JSON or YAML. A mistake's
sentence names the entry by its number and AE title, and never repeats a value: it may be a secret.
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from dimse_ingestion.settings.yaml_file import camel_case, parse_value, snake_case

_Entry = TypeVar("_Entry", bound=BaseModel)


def parse_entries(value: object, kind: type[_Entry], example: str) -> tuple[_Entry, ...]:
    """Return the entries of a list, or of its text; each AE title once. Raises ValueError."""
    items = parse_value(value) if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        raise ValueError(f"it is no list: give {example}.")  # noqa: TRY004 - pydantic takes no other
    entries = tuple(_entry(number, item, kind, example) for number, item in enumerate(items, 1))
    titles = [getattr(each, "ae_title") for each in entries]  # noqa: B009 - of every kind
    if duplicates := sorted({title for title in titles if titles.count(title) > 1}):
        raise ValueError(f"the AE title {duplicates[0]} is given twice: keep one entry for it.")
    return entries


def _entry(number: int, item: object, kind: type[_Entry], example: str) -> _Entry:
    if isinstance(item, kind):
        return item
    if not isinstance(item, Mapping):
        raise ValueError(f"entry {number} is no mapping: give {example}.")  # noqa: TRY004 - as above
    content = _by_field(number, item, kind)
    try:
        return kind(**content)
    except ValidationError as invalid:
        sentences = [_sentence(each) for each in invalid.errors()]
        raise ValueError(f"{_label(number, content)}: {' '.join(sentences)}") from None


def _by_field(number: int, item: Mapping[Any, Any], kind: type[BaseModel]) -> dict[str, Any]:
    """Return the entry by field name; a key without a value counts as absent."""
    content: dict[str, Any] = {}
    for key, value in item.items():
        name = snake_case(str(key))
        if name not in kind.model_fields:
            raise ValueError(f"{_label(number, item)}: {_unknown(str(key), name, kind)}")
        if name in content:
            raise ValueError(f"{_label(number, item)}: {camel_case(name)} is given twice.")
        if value is not None:
            content[name] = value.strip() if isinstance(value, str) else value
    return content


def _unknown(key: str, name: str, kind: type[BaseModel]) -> str:
    close = get_close_matches(name, kind.model_fields, n=1)
    known = ", ".join(map(camel_case, kind.model_fields))
    cure = f"did you mean {camel_case(close[0])}?" if close else f"the keys are {known}."
    return f"{key!r} is not a key: {cure}"


def _label(number: int, item: Mapping[Any, Any]) -> str:
    title = item.get("ae_title", item.get("aeTitle", ""))
    is_title = isinstance(title, str) and re.fullmatch(r"[\x20-\x7e]{1,16}", title)
    return f"entry {number} ({title})" if is_title else f"entry {number}"


def _sentence(error: ErrorDetails) -> str:
    reason = " ".join(error["msg"].removeprefix("Value error, ").split()).rstrip(".")
    if error["type"] == "missing":
        reason = "it is missing"
    where = f"{camel_case(str(error['loc'][0]))}: " if error["loc"] else ""
    return f"{where}{reason[:1].lower() if where else reason[:1]}{reason[1:]}."
