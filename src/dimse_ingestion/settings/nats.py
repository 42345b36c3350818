"""Settings of the connection to NATS, shared by the proxy and the ingestion service."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from dimse_ingestion.settings.mounted import read_credential
from dimse_ingestion.settings.service import ServiceSettings
from dimse_ingestion.settings.types import NatsServers, Seconds, Subject

AuthMode = Literal["auto", "none", "token", "creds", "jwt-seed", "bearer", "password", "nkey"]


class NatsSettings(ServiceSettings):
    """Settings of NATS. Mounted files are read again at each connect, and may be missing."""

    nats_url: NatsServers = Field(validation_alias="DIMSE_NATS_URL")
    """`host:port` (the scheme then follows TLS) or a URL, several by comma."""
    nats_tls_enabled: bool = Field(default=True, validation_alias="DIMSE_NATS_TLS_ENABLED")
    nats_subject_root: Subject = Field(default="DIMSE", validation_alias="DIMSE_NATS_SUBJECT_ROOT")
    nats_auth_token: SecretStr = Field(
        default=SecretStr(""), validation_alias="DIMSE_NATS_AUTH_TOKEN"
    )
    """The token itself, or the absolute path of a mounted file or Secret folder that holds it."""
    nats_auth_mode: AuthMode = Field(default="auto", validation_alias="DIMSE_NATS_AUTH_MODE")
    nats_ca_path: Path | None = Field(default=None, validation_alias="DIMSE_NATS_CA_PATH")
    nats_certificate_path: Path | None = Field(
        default=None, validation_alias="DIMSE_NATS_CERTIFICATE_PATH"
    )
    nats_key_path: Path | None = Field(default=None, validation_alias="DIMSE_NATS_KEY_PATH")
    nats_tls_handshake_first: bool = Field(
        default=False, validation_alias="DIMSE_NATS_TLS_HANDSHAKE_FIRST"
    )
    nats_connect_timeout: Seconds = Field(
        default=5.0, validation_alias="DIMSE_NATS_CONNECT_TIMEOUT"
    )

    # the names of mounted Secrets in messages; without them, their paths
    nats_token_secret_name: str = Field(default="", validation_alias="DIMSE_NATS_TOKEN_SECRET_NAME")
    nats_ca_secret_name: str = Field(default="", validation_alias="DIMSE_NATS_CA_SECRET_NAME")
    nats_certificate_secret_name: str = Field(
        default="", validation_alias="DIMSE_NATS_CERTIFICATE_SECRET_NAME"
    )

    def read_credential(self) -> Mapping[str, str]:
        """Return the NATS credential as mounted now. Raises MountedMissing."""
        token = self.nats_auth_token.get_secret_value()
        return read_credential(token, self.nats_token_secret_name)

    @model_validator(mode="after")
    def _scheme_agrees_with_tls(self) -> Self:
        encrypted = self.nats_url.startswith(("tls://", "wss://"))
        if "nats_tls_enabled" in self.model_fields_set and encrypted and not self.nats_tls_enabled:
            raise ValueError(
                "DIMSE_NATS_URL requires TLS and DIMSE_NATS_TLS_ENABLED switches it off: "
                "change one of them."
            )
        if bool(self.nats_certificate_path) != bool(self.nats_key_path):
            raise ValueError(
                "DIMSE_NATS_CERTIFICATE_PATH and DIMSE_NATS_KEY_PATH belong together: set both."
            )
        return self
