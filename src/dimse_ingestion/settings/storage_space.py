"""What a storage space is: its bucket, its event sink, its catalogue; shared by two doors."""

from pathlib import Path

from pydantic import Field

from dimse_ingestion.settings.door import DoorSettings
from dimse_ingestion.settings.kinds import HttpUrl, Seconds
from dimse_ingestion.settings.mounted import BucketLocation, read_bucket


class StorageSpaceSettings(DoorSettings):
    """The storage space's settings. The bucket is read when needed, and may be missing."""

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
