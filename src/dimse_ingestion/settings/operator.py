"""What the operator can be told: what it looks after, and how one of several of it is chosen."""

import os
import socket
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from dimse_ingestion.settings.service import DoorSettings
from dimse_ingestion.settings.types import Names, Seconds


def _values(written: object) -> object:
    """A map as JSON or YAML writes it."""
    if not isinstance(written, str):
        return written
    try:
        values = yaml.safe_load(written) or {}
    except yaml.YAMLError as trouble:
        raise ValueError(f"it is not JSON: {trouble}") from None
    if not isinstance(values, dict):
        mistake = 'it is no map of values: give one like {"logLevel": "debug"}.'
        raise ValueError(mistake)  # noqa: TRY004 - pydantic makes a sentence of this one
    return values


_Values = Annotated[dict[str, Any], NoDecode, BeforeValidator(_values)]


class OperatorSettings(DoorSettings):
    """The operator's settings. The API server is the pod's own, or the one $KUBECONFIG names."""

    image: str = Field(default="", validation_alias="DIMSE_OPERATOR_IMAGE")
    """Image of the pods of a resource that names none; empty leaves it to the chart."""
    namespaces: Names = Field(default=(), validation_alias="DIMSE_OPERATOR_NAMESPACES")
    """Looked after; none named: all of them."""
    defaults: _Values = Field(default_factory=dict, validation_alias="DIMSE_OPERATOR_DEFAULTS")
    """Values of every release, as JSON."""
    resync: Seconds = Field(default=300.0, validation_alias="DIMSE_OPERATOR_RESYNC")
    """Seconds until a resource is looked at again of which nothing was heard."""
    lease: str = Field(default="dimse-ingestion-operator", validation_alias="DIMSE_OPERATOR_LEASE")
    """Name of the Lease that the working replica holds."""
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
    """What this replica is called in the Lease."""
    chart: Path | None = Field(default=None, validation_alias="DIMSE_OPERATOR_CHART")
    """Folder of the one chart; none: the one this program came with."""
