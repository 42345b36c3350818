"""Settings of the ingestion service beside its storage space: NATS, limits and decoders."""

import re
import secrets
import socket
from pathlib import Path

from pydantic import Field

from dimse_ingestion.settings.nats import NatsSettings
from dimse_ingestion.settings.state import state_directory
from dimse_ingestion.settings.storage_space import StorageSpaceSettings
from dimse_ingestion.settings.types import Count, Decoders, Size, SubjectToken, Workers


def _replica_name() -> str:
    """Return the pod's name and a random number, so that a restarted replica is another one."""
    host = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:57] or "replica"
    return f"{host}-{secrets.token_hex(3)}"


class IngestionSettings(NatsSettings, StorageSpaceSettings):
    """The ingestion service's settings."""

    replica_id: SubjectToken = Field(
        default_factory=_replica_name, validation_alias="DIMSE_REPLICA_ID"
    )

    workers: Workers = Field(default=1, validation_alias="DIMSE_WORKERS")
    """Processes, each of which is a replica with limits of its own."""

    # limits
    maximum_sessions: Count = Field(default=64, validation_alias="DIMSE_MAXIMUM_SESSIONS")
    maximum_matches: Count = Field(default=10_000, validation_alias="DIMSE_MAXIMUM_MATCHES")
    """The most matches of a C-FIND; one with more ends with A700."""
    window: Size = Field(default=4 * 2**20, validation_alias="DIMSE_WINDOW")
    """Bytes of credit for one session of the transport."""
    grant_limit: Size = Field(default=32 * 2**20, validation_alias="DIMSE_GRANT_LIMIT")
    """Bytes of credit for all sessions of this replica together."""

    # decompression for receivers that take only native transfer syntaxes
    decoders: Decoders = Field(default=2, validation_alias="DIMSE_DECODERS")
    """Processes that decode pixels, in each worker; 0: nothing is decompressed."""
    decoder_directory: Path = Field(
        default_factory=lambda: state_directory("decompression"),
        validation_alias="DIMSE_DECODER_DIRECTORY",
    )
    """The folder of the files that exist while data sets are decompressed: 2 GiB in each worker."""
