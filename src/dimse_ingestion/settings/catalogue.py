"""What the catalogue can be told: its database, and which of two instances answers a query."""

from typing import Literal

from pydantic import Field, SecretStr

from dimse_ingestion.settings.door import DoorSettings
from dimse_ingestion.settings.kinds import Count, Seconds, Size
from dimse_ingestion.settings.mounted import read_database_url


class CatalogueSettings(DoorSettings):
    """The catalogue's settings."""

    database_url: SecretStr = Field(validation_alias="DATABASE_URL")
    """SQLAlchemy's: `postgresql+psycopg://user:password@host/name` or `sqlite:////folder/file`.

    Or the absolute path of a mounted file or Secret folder that holds it.
    """
    database_secret_name: str = Field(default="", validation_alias="DATABASE_SECRET_NAME")
    """What a sentence calls that Secret; without it, its path."""
    duplicates: Literal["latest", "first"] = Field(
        default="latest", validation_alias="DIMSE_DUPLICATES"
    )
    """Which of several data sets under one SOP Instance UID answers a query; all are kept."""
    maximum_connections: Count = Field(default=10, validation_alias="DIMSE_DATABASE_CONNECTIONS")
    commit_size: Count = Field(default=100, validation_alias="DIMSE_COMMIT_SIZE")
    """The most events one commit may have."""
    maximum_event_length: Size = Field(
        default=32 * 2**20, validation_alias="DIMSE_MAXIMUM_EVENT_LENGTH"
    )
    """Bytes of the longest event taken."""
    maximum_matches: Count = Field(default=100_000, validation_alias="DIMSE_MAXIMUM_MATCHES")
    query_timeout: Seconds = Field(default=30.0, validation_alias="DIMSE_QUERY_TIMEOUT")

    @property
    def database_is_mounted(self) -> bool:
        """Whether the URL stands in a file, and so may appear and change."""
        return self.database_url.get_secret_value().startswith("/")

    def read_database_url(self) -> str:
        """The database's URL, as it is mounted now or as it was given. Raises MountedMissing."""
        return read_database_url(self.database_url.get_secret_value(), self.database_secret_name)
