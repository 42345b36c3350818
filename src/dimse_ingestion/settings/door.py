"""What every door can be told, and how its settings are loaded: arguments, environment, file.

An argument (standalone, tests) beats the environment, the environment beats the file, the file
beats the default.
"""

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from dimse_ingestion.settings.kinds import HttpUrl, Port, Seconds
from dimse_ingestion.settings.mistakes import ConfigurationMistake, told


class DoorSettings(BaseSettings):
    """Settings of any door. Frozen: a door that must change is started again."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_ignore_empty=True,
        populate_by_name=True,
        case_sensitive=True,
        hide_input_in_errors=True,
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", validation_alias="DIMSE_LOG_LEVEL"
    )
    http_host: str = Field(default="0.0.0.0", validation_alias="DIMSE_HTTP_HOST")  # noqa: S104 - probed from the node
    """Where /livez, /readyz and /metrics are served, and the door's own HTTP if it has one."""
    http_port: Port = Field(default=8080, validation_alias="DIMSE_HTTP_PORT")
    """0 takes any free port."""
    drain_timeout: Seconds = Field(default=100.0, validation_alias="DIMSE_DRAIN_TIMEOUT")
    """Seconds from SIGTERM until what is still under way is given up."""
    otlp_endpoint: HttpUrl = Field(default="", validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    """Where traces go, OTLP over HTTP; empty exports none."""

    @classmethod
    def load(cls, file: Path | None = None, **arguments: Any) -> Self:
        """The settings from arguments, the environment, and the YAML file if there is one.

        Raises ConfigurationMistake, whose sentences name the variable or key and the cure.
        """
        written = _read(file, cls.names()) if file else {}
        from_file = {
            name: value for name, value in written.items() if not cls._in_environment(name)
        }
        sources = {name: f"{file}: {name}" for name in from_file}
        try:
            return cls(**(from_file | arguments))
        except ValidationError as invalid:
            raise told(invalid, _labels(cls.names(), sources)) from None

    @classmethod
    def names(cls) -> dict[str, str]:
        """The environment name of each field."""
        return {name: str(info.validation_alias) for name, info in cls.model_fields.items()}

    @classmethod
    def _in_environment(cls, name: str) -> bool:
        return bool(os.environ.get(cls.names()[name]))


def _labels(names: Mapping[str, str], sources: Mapping[str, str]) -> dict[str, str]:
    """What a mistake calls a setting: its key in the file, else its variable."""
    labels: dict[str, str] = {}
    for name, variable in names.items():
        label = sources.get(name, variable)
        labels[name] = labels[variable] = label
    return labels


def _read(file: Path, names: Mapping[str, str]) -> dict[str, Any]:
    """The file's settings by field name; sections may group them (`nats: {url: ...}`)."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as trouble:
        raise ConfigurationMistake([f"{file} can't be read: {trouble.strerror}."]) from None
    except (yaml.YAMLError, UnicodeDecodeError) as trouble:
        raise ConfigurationMistake([f"{file} is not YAML: {trouble}"]) from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigurationMistake([f"{file} must hold settings as `key: value` lines."])
    settings = _flat(content)
    if unknown := [_unknown(file, key, names) for key in settings if key not in names]:
        raise ConfigurationMistake(unknown)
    return settings


def _flat(section: Mapping[Any, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in section.items():
        name = above + _snake(str(key))
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{name}_")
        elif value is not None:
            flat[name] = value
    return flat


def _snake(key: str) -> str:
    """`natsUrl`, `nats-url` and `nats_url` are one key."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).replace("-", "_").lower()


def _unknown(file: Path, key: str, names: Mapping[str, str]) -> str:
    close = get_close_matches(key, names, n=1)
    cure = f"did you mean {close[0]}?" if close else f"the settings are {', '.join(sorted(names))}."
    return f"{file}: {key} is not a setting: {cure}"
