"""What the ingestion service can be told: bucket, event sink, catalogue, and its limits."""

import re
import secrets
import socket
from pathlib import Path

from pydantic import Field

from dimse_ingestion.settings.kinds import Count, HttpUrl, Seconds, Size, SubjectToken
from dimse_ingestion.settings.messaging import NatsSettings
from dimse_ingestion.settings.mounted import BucketLocation, read_bucket


def _host_and_nonce() -> str:
    """The pod's name and a number of this start, so that a restarted replica is another one."""
    host = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:57] or "replica"
    return f"{host}-{secrets.token_hex(3)}"


class IngestionSettings(NatsSettings):
    """The ingestion service's settings. The bucket is read when needed, and may be missing."""

    replica_id: SubjectToken = Field(
        default_factory=_host_and_nonce, validation_alias="DIMSE_REPLICA_ID"
    )
    provider_name: str = Field(min_length=1, validation_alias="PROVIDER_NAME")
    """Groups what many storage spaces tell one catalogue."""
    bucket_config_path: Path = Field(
        default=Path("/etc/bucket/config"), validation_alias="BUCKET_CONFIG_PATH"
    )
    bucket_secret_path: Path = Field(
        default=Path("/etc/bucket/secret"), validation_alias="BUCKET_SECRET_PATH"
    )
    bucket_config_name: str = Field(default="", validation_alias="BUCKET_CONFIG_NAME")
    """What a sentence calls the ConfigMap; without it, its path."""
    bucket_secret_name: str = Field(default="", validation_alias="BUCKET_SECRET_NAME")

    # events out, questions out
    event_source: str = Field(
        default="dimse-ingestion", min_length=1, validation_alias="EVENT_SOURCE"
    )
    event_sink: HttpUrl = Field(min_length=1, validation_alias="K_SINK")
    query_endpoint: HttpUrl = Field(min_length=1, validation_alias="QUERY_ENDPOINT")
    wado_internal_endpoint: str = Field(default="", validation_alias="WADO_INTERNAL_ENDPOINT")
    wado_external_endpoint: str = Field(default="", validation_alias="WADO_EXTERNAL_ENDPOINT")

    # limits
    maximum_sessions: Count = Field(default=64, validation_alias="DIMSE_MAXIMUM_SESSIONS")
    maximum_matches: Count = Field(default=10_000, validation_alias="DIMSE_MAXIMUM_MATCHES")
    """A C-FIND that would give more ends with A700."""
    window: Size = Field(default=4 * 2**20, validation_alias="DIMSE_WINDOW")
    """Bytes one session may have on the way (transport's credit)."""
    grant_limit: Size = Field(default=32 * 2**20, validation_alias="DIMSE_GRANT_LIMIT")
    """Bytes all sessions of this replica may have on the way together."""

    # time, in seconds
    bucket_timeout: Seconds = Field(default=20.0, validation_alias="DIMSE_BUCKET_TIMEOUT")
    event_timeout: Seconds = Field(default=10.0, validation_alias="DIMSE_EVENT_TIMEOUT")
    query_timeout: Seconds = Field(default=30.0, validation_alias="DIMSE_QUERY_TIMEOUT")

    def read_bucket(self) -> BucketLocation:
        """The bucket, as it is mounted now. Raises MountedMissing."""
        return read_bucket(
            self.bucket_config_path,
            self.bucket_secret_path,
            config_name=self.bucket_config_name,
            secret_name=self.bucket_secret_name,
        )
