"""Settings of DICOMweb beside its storage space: address, access, limits."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from dimse_ingestion.settings.audit import AuditSettings
from dimse_ingestion.settings.state import state_directory
from dimse_ingestion.settings.storage_space import StorageSpaceSettings
from dimse_ingestion.settings.types import (
    Count,
    Host,
    HttpUrl,
    Names,
    Networks,
    Port,
    Seconds,
    Size,
)


class DicomwebSettings(StorageSpaceSettings, AuditSettings):
    """The settings of DICOMweb. Probes and metrics stay on `http_port`."""

    # the address
    dicomweb_host: Host = Field(default="0.0.0.0", validation_alias="DICOMWEB_HTTP_HOST")  # noqa: S104 - viewers are other hosts
    dicomweb_port: Port = Field(default=8081, validation_alias="DICOMWEB_HTTP_PORT")
    """Port of the services below /dicomweb and of the page at /; 0 takes a free port."""
    external_address: HttpUrl = Field(default="", validation_alias="DICOMWEB_EXTERNAL_ADDRESS")
    """Base of the URLs in responses, before /dicomweb; empty: as the client's request has it."""
    external_port: Port = Field(default=0, validation_alias="DICOMWEB_EXTERNAL_PORT")
    """The port of clients that name none in Host; 0: the port that is listened on."""
    trusted_proxies: Networks = Field(default=(), validation_alias="DICOMWEB_TRUSTED_PROXIES")
    """The networks whose forwarded headers are trusted."""

    # access
    access: Literal["off", "bearer", "header"] = Field(
        default="off", validation_alias="DICOMWEB_AUTH"
    )
    jwks_url: HttpUrl = Field(default="", validation_alias="DICOMWEB_JWKS_URL")
    token_issuer: str = Field(default="", validation_alias="DICOMWEB_TOKEN_ISSUER")
    token_audience: str = Field(default="", validation_alias="DICOMWEB_TOKEN_AUDIENCE")
    user_header: str = Field(
        default="X-Forwarded-User", min_length=1, validation_alias="DICOMWEB_USER_HEADER"
    )
    """The header in which a trusted proxy names an authenticated user."""
    cors_origins: Names = Field(default=(), validation_alias="DICOMWEB_CORS_ORIGINS")
    """The origins whose pages may send requests (CORS); `*` is every one."""

    # limits
    maximum_matches: Count = Field(default=5000, validation_alias="DICOMWEB_MAXIMUM_MATCHES")
    """More are cut off with a warning; the client requests them by `offset`."""
    maximum_body: Size = Field(default=16 * 2**30, validation_alias="DICOMWEB_MAXIMUM_BODY")
    """Bytes of one request."""
    maximum_parts: Count = Field(default=10_000, validation_alias="DICOMWEB_MAXIMUM_PARTS")
    maximum_requests: Count = Field(default=128, validation_alias="DICOMWEB_MAXIMUM_REQUESTS")
    """The most requests in progress; one more is answered 503."""
    workers: Count = Field(default=2, validation_alias="DICOMWEB_WORKERS")
    """Processes that decode pixels, and threads that render small grey frames."""

    # time, in seconds
    silence: Seconds = Field(default=60.0, validation_alias="DICOMWEB_SILENCE")
    """A client that neither sends nor reads a byte for this time is disconnected."""
    least_rate: Size = Field(default=2**10, validation_alias="DICOMWEB_LEAST_RATE")
    """Bytes per second; a slower client is disconnected, too, though later than a silent one."""

    # the spool of data sets that are being stored
    spool_directory: Path = Field(
        default_factory=lambda: state_directory("dicomweb-spool"),
        validation_alias="DICOMWEB_SPOOL_DIRECTORY",
    )
    spool_memory: Size = Field(default=4 * 2**20, validation_alias="DICOMWEB_SPOOL_MEMORY")
    """Bytes of one data set held in memory; a longer one goes to a file."""
    spool_memory_in_all: Size = Field(
        default=64 * 2**20, validation_alias="DICOMWEB_SPOOL_MEMORY_IN_ALL"
    )
    spool_limit: Size = Field(default=16 * 2**30, validation_alias="DICOMWEB_SPOOL_LIMIT")
    """The most bytes of all files of the spool together."""

    @model_validator(mode="after")
    def _check_access(self) -> Self:
        if self.access == "bearer":
            self._check_bearer()
        if self.access == "header" and not self.trusted_proxies:
            raise ValueError(
                "DICOMWEB_AUTH is header, and no proxy is trusted with it: set "
                "DICOMWEB_TRUSTED_PROXIES to its networks."
            )
        return self

    def _check_bearer(self) -> None:
        wanted = {
            "DICOMWEB_JWKS_URL": self.jwks_url,
            "DICOMWEB_TOKEN_ISSUER": self.token_issuer,
            "DICOMWEB_TOKEN_AUDIENCE": self.token_audience,
        }
        if missing := [name for name, value in wanted.items() if not value]:
            raise ValueError(f"DICOMWEB_AUTH is bearer: set {', '.join(missing)}, too.")
