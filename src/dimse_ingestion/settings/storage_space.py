"""Settings of a storage space, for ingestion and DICOMweb: its bucket, event sink and catalogue."""

from dataclasses import replace
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from dimse_ingestion.settings.loopback import is_open_http
from dimse_ingestion.settings.mounted import BucketLocation, read_bucket
from dimse_ingestion.settings.peer_access import PeerAccess
from dimse_ingestion.settings.service import ServiceSettings
from dimse_ingestion.settings.types import HttpUrl, Seconds


class StorageSpaceSettings(ServiceSettings):
    """A storage space's settings. The bucket is read when needed, and may be missing."""

    provider_name: str = Field(min_length=1, validation_alias="PROVIDER_NAME")
    """The group of storage spaces that share one catalogue."""
    bucket_config_path: Path = Field(
        default=Path("/etc/bucket/config"), validation_alias="BUCKET_CONFIG_PATH"
    )
    bucket_secret_path: Path = Field(
        default=Path("/etc/bucket/secret"), validation_alias="BUCKET_SECRET_PATH"
    )
    bucket_config_name: str = Field(default="", validation_alias="BUCKET_CONFIG_NAME")
    """The ConfigMap's name in messages; without it, its path."""
    bucket_secret_name: str = Field(default="", validation_alias="BUCKET_SECRET_NAME")

    # outgoing events and queries
    event_source: str = Field(
        default="dimse-ingestion", min_length=1, validation_alias="EVENT_SOURCE"
    )
    event_sink: HttpUrl = Field(min_length=1, validation_alias="K_SINK")
    query_endpoint: HttpUrl = Field(min_length=1, validation_alias="QUERY_ENDPOINT")
    catalogue_token: SecretStr = Field(
        default=SecretStr(""), validation_alias="DIMSE_CATALOGUE_TOKEN"
    )
    """The token for the catalogue; or the absolute path of a file or mounted Secret with it."""
    catalogue_ca_path: Path | None = Field(default=None, validation_alias="DIMSE_CATALOGUE_CA_PATH")
    """PEM file of the CA that signed the catalogue's certificate; without it, the system's CAs."""
    catalogue_secret_name: str = Field(default="", validation_alias="DIMSE_CATALOGUE_SECRET_NAME")
    event_sink_token: SecretStr = Field(
        default=SecretStr(""), validation_alias="DIMSE_EVENT_SINK_TOKEN"
    )
    """The token for a K_SINK that is not the catalogue itself."""
    event_sink_ca_path: Path | None = Field(
        default=None, validation_alias="DIMSE_EVENT_SINK_CA_PATH"
    )
    event_sink_secret_name: str = Field(default="", validation_alias="DIMSE_EVENT_SINK_SECRET_NAME")
    event_sink_ca_secret_name: str = Field(
        default="", validation_alias="DIMSE_EVENT_SINK_CA_SECRET_NAME"
    )
    wado_internal_endpoint: str = Field(default="", validation_alias="WADO_INTERNAL_ENDPOINT")
    wado_external_endpoint: str = Field(default="", validation_alias="WADO_EXTERNAL_ENDPOINT")

    # timeouts, in seconds
    bucket_timeout: Seconds = Field(default=20.0, validation_alias="DIMSE_BUCKET_TIMEOUT")
    event_timeout: Seconds = Field(default=10.0, validation_alias="DIMSE_EVENT_TIMEOUT")
    query_timeout: Seconds = Field(default=30.0, validation_alias="DIMSE_QUERY_TIMEOUT")

    def read_bucket(self) -> BucketLocation:
        """Return the bucket as mounted now. Raises MountedMissing."""
        return read_bucket(
            self.bucket_config_path,
            self.bucket_secret_path,
            config_name=self.bucket_config_name,
            secret_name=self.bucket_secret_name,
        )

    @property
    def catalogue_access(self) -> PeerAccess:
        """Return the CA and the token for queries."""
        return PeerAccess(
            token=self.catalogue_token.get_secret_value(),
            authority=self.catalogue_ca_path,
            secret_name=self.catalogue_secret_name,
        )

    @property
    def event_sink_access(self) -> PeerAccess:
        """Return the CA and the token for events: the catalogue's only where events go to it."""
        if self._sink_is_catalogue:
            return replace(self.catalogue_access, url_setting="K_SINK")
        return PeerAccess(
            peer="event sink",
            url_setting="K_SINK",
            token_setting="DIMSE_EVENT_SINK_TOKEN",  # noqa: S106 - the name of a setting
            ca_setting="DIMSE_EVENT_SINK_CA_PATH",
            token=self.event_sink_token.get_secret_value(),
            authority=self.event_sink_ca_path,
            secret_name=self.event_sink_secret_name,
            authority_secret_name=self.event_sink_ca_secret_name,
        )

    @property
    def _sink_is_catalogue(self) -> bool:
        return urlsplit(self.event_sink)[:2] == urlsplit(self.query_endpoint)[:2]

    @model_validator(mode="after")
    def _no_token_in_the_clear(self) -> Self:
        """Refuse to send a token in clear text over a network."""
        for url, access in (
            (self.query_endpoint, self.catalogue_access),
            (self.event_sink, self.event_sink_access),
        ):
            if access.token and is_open_http(url):
                raise ValueError(
                    f"{access.token_setting} would be sent without TLS: {access.url_setting} must "
                    "begin with https://, unless its host is this machine (127.0.0.1)."
                )
        return self
