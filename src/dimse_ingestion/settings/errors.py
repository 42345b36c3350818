"""Configuration errors for the operator: each sentence names the setting, the error, the cure."""

import errno
import socket
from collections.abc import Iterable, Mapping

from pydantic import ValidationError
from pydantic_core import ErrorDetails


class ConfigurationMistake(Exception):
    """One or more settings that can't be used; `sentences` has one for each."""

    def __init__(self, sentences: Iterable[str]) -> None:
        self.sentences = tuple(sentences)
        super().__init__("\n".join(self.sentences))


def configuration_mistake(
    invalid: ValidationError, names: Mapping[str, str]
) -> ConfigurationMistake:
    """Convert pydantic's error; `names` gives a field's name as the operator wrote it.

    No value is repeated except by our own validators: it may be a secret.
    """
    return ConfigurationMistake(_sentence(each, names) for each in invalid.errors())


def address_mistake(variable: str, address: str, error: OSError) -> ConfigurationMistake:
    """Return the error about an address that can't be listened on."""
    return ConfigurationMistake([f"{variable}: {address} can't be used: {_reason(error)}"])


def directory_mistake(variable: str, directory: str, error: OSError) -> ConfigurationMistake:
    """Return the error about a folder that can't be written."""
    cure = "give a folder that this user may write to."
    reason = _FOLDER_REASONS.get(error.errno or 0, error.strerror)
    return ConfigurationMistake([f"{variable}: {directory} can't be used: {reason}: {cure}"])


def _reason(error: OSError) -> str:
    number = error.errno or 0
    if number in _UNKNOWN_NAME:
        return "the name is not known: give an address of this host."
    return _REASONS.get(number, f"{error.strerror or error}.")


_FOLDER_REASONS = {
    errno.EEXIST: "it is no folder",
    errno.ENOTDIR: "what it is in is no folder",
}
_UNKNOWN_NAME = (socket.EAI_NONAME, socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_NODATA)
_REASONS = {
    errno.EADDRINUSE: "it is in use by another process: stop that, or give another port.",
    errno.EADDRNOTAVAIL: "this host does not have the address: give one that it has.",
    errno.EACCES: "this user may not listen there: ports below 1024 need CAP_NET_BIND_SERVICE.",
}


def _sentence(error: ErrorDetails, names: Mapping[str, str]) -> str:
    field = str(error["loc"][0]) if error["loc"] else ""
    name = names.get(field, field)
    if error["type"] == "missing":
        return f"{name} is not set: it has no default."
    if error["type"] == "extra_forbidden":
        return f"{name} is not a setting."
    reason = " ".join(error["msg"].removeprefix("Value error, ").split())
    return f"{name}: {reason[:1].lower()}{reason[1:]}" if name else reason
