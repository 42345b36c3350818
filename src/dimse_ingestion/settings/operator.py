"""Settings of the operator: its namespaces, its releases' values, its leader election."""

import os
import socket
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from dimse_ingestion.settings.service import ServiceSettings
from dimse_ingestion.settings.types import Names, Seconds


def _values(text: object) -> object:
    """Parse a map written as JSON or YAML."""
    if not isinstance(text, str):
        return text
    try:
        values = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"it is not JSON: {error}") from None
    if not isinstance(values, dict):
        mistake = 'it is no map of values: give one like {"logLevel": "debug"}.'
        raise ValueError(mistake)  # noqa: TRY004 - pydantic makes a sentence of this one
    return values


_Values = Annotated[dict[str, Any], NoDecode, BeforeValidator(_values)]


class OperatorSettings(ServiceSettings):
    """The operator's settings. The API server is the pod's own, or the one $KUBECONFIG names."""

    image: str = Field(default="", validation_alias="DIMSE_OPERATOR_IMAGE")
    """The image of pods whose resource names none; empty leaves it to the chart."""
    namespaces: Names = Field(default=(), validation_alias="DIMSE_OPERATOR_NAMESPACES")
    """The namespaces that are watched; empty: all of them."""
    defaults: _Values = Field(default_factory=dict, validation_alias="DIMSE_OPERATOR_DEFAULTS")
    """Values of every release, as JSON."""
    resync: Seconds = Field(default=300.0, validation_alias="DIMSE_OPERATOR_RESYNC")
    """Seconds between reconciliations of a resource without events."""
    lease: str = Field(default="dimse-ingestion-operator", validation_alias="DIMSE_OPERATOR_LEASE")
    """Name of the Lease that the active replica holds."""
    lease_namespace: str = Field(default="default", validation_alias="DIMSE_OPERATOR_NAMESPACE")
    lease_seconds: int = Field(
        default=15, ge=5, le=600, validation_alias="DIMSE_OPERATOR_LEASE_SECONDS"
    )
    """Seconds after which another replica takes over from a silent one."""
    identity: str = Field(
        default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}",
        min_length=1,
        validation_alias="DIMSE_OPERATOR_IDENTITY",
    )
    """This replica's name in the Lease."""
    chart: Path | None = Field(default=None, validation_alias="DIMSE_OPERATOR_CHART")
    """Folder of the chart; by default the one in this package."""
