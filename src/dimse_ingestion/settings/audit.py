"""Settings of the audit trail, the same for the proxy and DICOMweb. Without a repository it is off.

They are the proxy's keys in `proxy.yaml`, too, in snake or camel case.
"""

import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from dimse_ingestion.settings.service import ServiceSettings
from dimse_ingestion.settings.state import state_directory
from dimse_ingestion.settings.types import Size, is_host

_ADDRESS = re.compile(
    r"(?P<scheme>tls|udp)://(?P<host>\[[0-9a-fA-F:.%]+\]|[^\s/:@\[\]]+)(?::(?P<port>[0-9]{1,5}))?/?"
)
_DEFAULT_PORTS = {"tls": 6514, "udp": 514}  # RFC 5425 4.1, RFC 5426 3.3
_LAST_PORT = 65_535


@dataclass(frozen=True, slots=True)
class RepositoryAddress:
    """The address of an audit record repository, for syslog over TLS or UDP."""

    host: str
    port: int
    is_udp: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'udp' if self.is_udp else 'tls'}://{host}:{self.port}"


def _address(value: object) -> object:
    """Return the address in a text; None for an empty one. Raises ValueError."""
    if not isinstance(value, str):
        return value
    if not value:
        return None
    match = _ADDRESS.fullmatch(value)
    host = match["host"].strip("[]") if match else ""
    port = int((match and match["port"]) or _DEFAULT_PORTS[match["scheme"] if match else "tls"])
    if match is None or not is_host(host) or not 0 < port <= _LAST_PORT:
        raise ValueError(
            f"{value!r} is no audit repository: give tls://host:port, or udp://host:port where the "
            "network is trusted with names of patients."
        )
    return RepositoryAddress(host, port, match["scheme"] == "udp")


class AuditSettings(ServiceSettings):
    """The settings of the audit trail. Mounted files are read again at each connection."""

    audit_repository: Annotated[RepositoryAddress | None, BeforeValidator(_address)] = Field(
        default=None, validation_alias="DIMSE_AUDIT_REPOSITORY"
    )
    """The audit record repository that messages are sent to; None: no message is made."""
    audit_ca_path: Path | None = Field(default=None, validation_alias="DIMSE_AUDIT_CA_PATH")
    """The CA (PEM) of the repository's certificate; None: the system's CAs."""
    audit_certificate_path: Path | None = Field(
        default=None, validation_alias="DIMSE_AUDIT_CERTIFICATE_PATH"
    )
    """The certificate (PEM) to present to a repository that requires one."""
    audit_key_path: Path | None = Field(default=None, validation_alias="DIMSE_AUDIT_KEY_PATH")
    audit_source_id: str = Field(
        default_factory=socket.gethostname, min_length=1, validation_alias="DIMSE_AUDIT_SOURCE_ID"
    )
    """Audit Source ID of each message: this system, by the name that the repository knows."""
    audit_site_id: str = Field(default="", validation_alias="DIMSE_AUDIT_SITE_ID")
    """Audit Enterprise Site ID: the hospital or site; empty: left out."""
    audit_directory: Path = Field(
        default_factory=lambda: state_directory("audit"), validation_alias="DIMSE_AUDIT_DIRECTORY"
    )
    """The queue of messages that the repository does not have yet."""
    audit_limit: Size = Field(default=256 * 2**20, validation_alias="DIMSE_AUDIT_LIMIT")
    """The most bytes of the queue; what does not fit is lost, and counted."""

    @model_validator(mode="after")
    def _audit_certificate_has_its_key(self) -> Self:
        if bool(self.audit_certificate_path) != bool(self.audit_key_path):
            raise ValueError(
                "DIMSE_AUDIT_CERTIFICATE_PATH and DIMSE_AUDIT_KEY_PATH belong together: set both."
            )
        return self
