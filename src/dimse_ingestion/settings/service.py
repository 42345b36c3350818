"""What every door can be told, and how its settings are loaded: arguments, environment, file.

An argument (standalone, tests) beats the environment, the environment beats the file, the file
beats the default.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from dimse_ingestion.settings.errors import ConfigurationMistake, told
from dimse_ingestion.settings.types import Host, HttpUrl, Port, Seconds, trimmed
from dimse_ingestion.settings.yaml_file import read_settings


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

    other_names: ClassVar[Mapping[str, str]] = {}
    """Variables that are read beside a field's own, and the field."""

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", validation_alias="DIMSE_LOG_LEVEL"
    )
    http_host: Host = Field(default="0.0.0.0", validation_alias="DIMSE_HTTP_HOST")  # noqa: S104 - probed from the node
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
        written = read_settings(file, cls.names()) if file else {}
        by_other_name = cls._by_other_name()
        from_file = {
            name: value
            for name, value in written.items()
            if not (name in by_other_name or cls._in_environment(name))
        }
        given = {name: os.environ[variable] for name, variable in by_other_name.items()}
        sources = by_other_name | {name: f"{file}: {name}" for name in from_file}
        try:
            return cls(**(from_file | given | arguments))
        except ValidationError as invalid:
            raise told(invalid, _labels(cls.names(), sources)) from None

    @classmethod
    def names(cls) -> dict[str, str]:
        """The environment name of each field."""
        return {name: str(info.validation_alias) for name, info in cls.model_fields.items()}

    @field_validator("*", mode="before")
    @classmethod
    def _plain(cls, value: Any, info: ValidationInfo) -> Any:
        """Blanks and line ends around a value come from the files and scripts it was read from."""
        field = cls.model_fields[info.field_name or ""]
        return trimmed(value, any_character=field.annotation is SecretStr)

    @classmethod
    def _by_other_name(cls) -> dict[str, str]:
        """The fields that the environment gives by another variable than their own, and which.

        Raises ConfigurationMistake for a field that it gives twice.
        """
        given = {
            field: variable
            for variable, field in cls.other_names.items()
            if os.environ.get(variable)
        }
        twice = [
            f"{variable} and {cls.names()[field]} are one setting: set one of them."
            for field, variable in given.items()
            if os.environ.get(cls.names()[field], os.environ[variable]) != os.environ[variable]
        ]
        if twice:
            raise ConfigurationMistake(twice)
        return given

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
