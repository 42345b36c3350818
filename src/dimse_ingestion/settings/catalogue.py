"""Settings of the catalogue: database, choice among duplicates, TLS and token."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from dimse_ingestion.settings.errors import ConfigurationMistake
from dimse_ingestion.settings.loopback import is_loopback
from dimse_ingestion.settings.mounted import read_database_url
from dimse_ingestion.settings.peer_access import PeerAccess
from dimse_ingestion.settings.service import ServiceSettings
from dimse_ingestion.settings.types import Count, Port, Seconds, Size


class CatalogueSettings(ServiceSettings):
    """The catalogue's settings."""

    database_url: SecretStr = Field(validation_alias="DATABASE_URL")
    """SQLAlchemy's: `postgresql+psycopg://user:password@host/name` or `sqlite:////folder/file`.

    Or the absolute path of a mounted file or Secret folder that holds it.
    """
    database_secret_name: str = Field(default="", validation_alias="DATABASE_SECRET_NAME")
    """The name of that Secret in messages; without it, its path."""
    duplicates: Literal["latest", "first"] = Field(
        default="latest", validation_alias="DIMSE_DUPLICATES"
    )
    """Which of several data sets under one SOP Instance UID answers a query; all are stored."""
    maximum_connections: Count = Field(default=10, validation_alias="DIMSE_DATABASE_CONNECTIONS")
    commit_size: Count = Field(default=100, validation_alias="DIMSE_COMMIT_SIZE")
    """The most events one commit may have."""
    maximum_event_length: Size = Field(
        default=32 * 2**20, validation_alias="DIMSE_MAXIMUM_EVENT_LENGTH"
    )
    """The largest event accepted, in bytes."""
    maximum_matches: Count = Field(default=100_000, validation_alias="DIMSE_MAXIMUM_MATCHES")
    query_timeout: Seconds = Field(default=30.0, validation_alias="DIMSE_QUERY_TIMEOUT")

    # access: who may send events and queries, over TLS with a token
    catalogue_port: Port = Field(default=8443, validation_alias="DIMSE_CATALOGUE_PORT")
    """The port of events and queries with TLS; probes and metrics stay at the HTTP port."""
    certificate_path: Path | None = Field(
        default=None, validation_alias="DIMSE_CATALOGUE_CERTIFICATE_PATH"
    )
    """Certificate chain (PEM). Read again when it changes."""
    key_path: Path | None = Field(default=None, validation_alias="DIMSE_CATALOGUE_KEY_PATH")
    token: SecretStr = Field(default=SecretStr(""), validation_alias="DIMSE_CATALOGUE_TOKEN")
    """The token clients must send; or the absolute path of a file or mounted Secret with it."""
    secret_name: str = Field(default="", validation_alias="DIMSE_CATALOGUE_SECRET_NAME")
    """The name of the Secret with certificate and token in messages; without it, its path."""
    insecure: bool = Field(default=False, validation_alias="DIMSE_CATALOGUE_INSECURE")
    """Serve events and queries without TLS beyond this machine."""

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        if bool(self.certificate_path) != bool(self.key_path):
            raise ValueError(
                "DIMSE_CATALOGUE_CERTIFICATE_PATH and DIMSE_CATALOGUE_KEY_PATH belong together: "
                "set both."
            )
        if self.certificate_path and not self.token.get_secret_value():
            raise ValueError(
                "DIMSE_CATALOGUE_TOKEN is not set: give the token that clients must send."
            )
        return self

    @property
    def access(self) -> PeerAccess:
        """Return what a client must send."""
        return PeerAccess(token=self.token.get_secret_value(), secret_name=self.secret_name)

    def refuse_exposed(self) -> None:
        """Raise ConfigurationMistake when anybody on the network could read and write."""
        if self.certificate_path or self.insecure or is_loopback(self.http_host):
            return
        sentence = (
            "DIMSE_CATALOGUE_CERTIFICATE_PATH is not set, and events and queries carry patient "
            "names: set it with DIMSE_CATALOGUE_KEY_PATH and DIMSE_CATALOGUE_TOKEN; or listen "
            "on this machine only, with DIMSE_HTTP_HOST=127.0.0.1; or, where something else "
            "encrypts and authenticates, set DIMSE_CATALOGUE_INSECURE=true."
        )
        raise ConfigurationMistake([sentence])

    @property
    def database_is_mounted(self) -> bool:
        """Return whether the URL is in a mounted file, and so may appear and change."""
        return self.database_url.get_secret_value().startswith("/")

    def read_database_url(self) -> str:
        """Return the database's URL, mounted or given. Raises MountedMissing."""
        return read_database_url(self.database_url.get_secret_value(), self.database_secret_name)
