"""Settings of every service, and how settings are loaded: arguments, environment, file.

An argument (standalone, tests) overrides the environment, the environment the file, the file the
default.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, PrivateAttr, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from dimse_ingestion.settings.errors import ConfigurationMistake, configuration_mistake
from dimse_ingestion.settings.types import Host, HttpUrl, Port, Seconds, trim
from dimse_ingestion.settings.yaml_file import read_settings


class _Source(NamedTuple):
    """Where settings were loaded from, besides the environment."""

    file: Path | None
    arguments: dict[str, Any]


class ServiceSettings(BaseSettings):
    """Settings of any service. Frozen: a change needs a restart, or a service that reloads them."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_ignore_empty=True,
        populate_by_name=True,
        case_sensitive=True,
        hide_input_in_errors=True,
        defer_build=True,  # a process uses the settings of one service
    )

    _source: _Source | None = PrivateAttr(default=None)

    other_names: ClassVar[Mapping[str, str]] = {}
    """Other names of variables, and the field that each one sets."""

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", validation_alias="DIMSE_LOG_LEVEL"
    )
    http_host: Host = Field(default="0.0.0.0", validation_alias="DIMSE_HTTP_HOST")  # noqa: S104 - probed from the node
    """Address of /livez, /readyz and /metrics, and of the service's own HTTP if it has one."""
    http_port: Port = Field(default=8080, validation_alias="DIMSE_HTTP_PORT")
    """The port; 0 takes a free port."""
    drain_timeout: Seconds = Field(default=100.0, validation_alias="DIMSE_DRAIN_TIMEOUT")
    """Seconds from SIGTERM until work in progress is aborted."""
    otlp_endpoint: HttpUrl = Field(default="", validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    """Base URL of the traces' collector, OTLP over HTTP; empty exports none."""

    @classmethod
    def load(cls, file: Path | None = None, **arguments: Any) -> Self:
        """Load the settings from arguments, the environment, and the YAML file if there is one.

        Raises ConfigurationMistake, whose sentences name the variable or key and the cure.
        """
        text = read_settings(file, cls.names()) if file else {}
        by_other_name = cls._given_by_other_name()
        from_file = {
            name: value
            for name, value in text.items()
            if not (name in by_other_name or cls._in_environment(name))
        }
        given = {name: os.environ[variable] for name, variable in by_other_name.items()}
        sources = by_other_name | {name: f"{file}: {name}" for name in from_file}
        try:
            settings = cls(**(from_file | given | arguments))
        except ValidationError as invalid:
            raise configuration_mistake(invalid, _labels(cls.names(), sources)) from None
        settings._source = _Source(file, arguments)
        return settings

    def reload(self) -> Self:
        """Load the settings again, from where `load` had them; without `load`, return them.

        Raises ConfigurationMistake.
        """
        source = self._source
        return type(self).load(source.file, **source.arguments) if source else self

    @property
    def file(self) -> Path | None:
        """The YAML file that the settings are from, if there is one."""
        return self._source.file if self._source else None

    @classmethod
    def names(cls) -> dict[str, str]:
        """Return the environment name of each field."""
        return {name: str(info.validation_alias) for name, info in cls.model_fields.items()}

    @field_validator("*", mode="before")
    @classmethod
    def _trim_text(cls, value: Any, info: ValidationInfo) -> Any:
        """Strip blanks and line ends around a value, which files and scripts leave there."""
        field = cls.model_fields[info.field_name or ""]
        return trim(value, any_character=field.annotation is SecretStr)

    @classmethod
    def _given_by_other_name(cls) -> dict[str, str]:
        """Return the fields that the environment sets by another variable, and which.

        Raises ConfigurationMistake for a field that is set twice.
        """
        given = {
            field: variable
            for variable, field in cls.other_names.items()
            if os.environ.get(variable)
        }
        duplicates = [
            f"{variable} and {cls.names()[field]} are one setting: set one of them."
            for field, variable in given.items()
            if os.environ.get(cls.names()[field], os.environ[variable]) != os.environ[variable]
        ]
        if duplicates:
            raise ConfigurationMistake(duplicates)
        return given

    @classmethod
    def _in_environment(cls, name: str) -> bool:
        return bool(os.environ.get(cls.names()[name]))


def _labels(names: Mapping[str, str], sources: Mapping[str, str]) -> dict[str, str]:
    """Return the name of a setting in messages: its key in the file, else its variable."""
    labels: dict[str, str] = {}
    for name, variable in names.items():
        label = sources.get(name, variable)
        labels[name] = labels[variable] = label
    return labels
