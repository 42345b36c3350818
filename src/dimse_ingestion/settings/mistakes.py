"""A wrong configuration told to the person who can put it right: which name, what, and the cure."""

from collections.abc import Iterable, Mapping

from pydantic import ValidationError
from pydantic_core import ErrorDetails


class ConfigurationMistake(Exception):
    """One or more settings that can't be used; `sentences` has one for each."""

    def __init__(self, sentences: Iterable[str]) -> None:
        self.sentences = tuple(sentences)
        super().__init__("\n".join(self.sentences))


def told(invalid: ValidationError, names: Mapping[str, str]) -> ConfigurationMistake:
    """The mistakes behind pydantic's error; `names` gives a field's name as the operator wrote it.

    No value is repeated but by a validator of ours: it may be a secret.
    """
    return ConfigurationMistake(_sentence(each, names) for each in invalid.errors())


def _sentence(error: ErrorDetails, names: Mapping[str, str]) -> str:
    field = str(error["loc"][0]) if error["loc"] else ""
    name = names.get(field, field)
    if error["type"] == "missing":
        return f"{name} is not set: it has no default."
    if error["type"] == "extra_forbidden":
        return f"{name} is not a setting."
    reason = error["msg"].removeprefix("Value error, ")
    return f"{name}: {reason[:1].lower()}{reason[1:]}" if name else reason
