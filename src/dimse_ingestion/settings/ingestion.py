"""What the ingestion service can be told beside its storage space: NATS, and its limits."""

import re
import secrets
import socket

from pydantic import Field

from dimse_ingestion.settings.messaging import NatsSettings
from dimse_ingestion.settings.storage_space import StorageSpaceSettings
from dimse_ingestion.settings.types import Count, Size, SubjectToken


def _host_and_nonce() -> str:
    """The pod's name and a number of this start, so that a restarted replica is another one."""
    host = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:57] or "replica"
    return f"{host}-{secrets.token_hex(3)}"


class IngestionSettings(NatsSettings, StorageSpaceSettings):
    """The ingestion service's settings."""

    replica_id: SubjectToken = Field(
        default_factory=_host_and_nonce, validation_alias="DIMSE_REPLICA_ID"
    )

    # limits
    maximum_sessions: Count = Field(default=64, validation_alias="DIMSE_MAXIMUM_SESSIONS")
    maximum_matches: Count = Field(default=10_000, validation_alias="DIMSE_MAXIMUM_MATCHES")
    """A C-FIND that would give more ends with A700."""
    window: Size = Field(default=4 * 2**20, validation_alias="DIMSE_WINDOW")
    """Bytes one session may have on the way (transport's credit)."""
    grant_limit: Size = Field(default=32 * 2**20, validation_alias="DIMSE_GRANT_LIMIT")
    """Bytes all sessions of this replica may have on the way together."""
