"""Everything that is configured, read here and nowhere else: one frozen class per door.

The environment names are the original's where it had them. A door gets its settings as an
argument; nothing is read at import. What is mounted (ConfigMaps, Secrets) may come and go while a
door runs, so it is read by functions (`mounted`) when needed, and a missing one is a sentence.
"""

from dimse_ingestion.settings.catalogue import CatalogueSettings
from dimse_ingestion.settings.dicomweb import DicomwebSettings
from dimse_ingestion.settings.errors import ConfigurationMistake
from dimse_ingestion.settings.ingestion import IngestionSettings
from dimse_ingestion.settings.messaging import NatsSettings
from dimse_ingestion.settings.mounted import (
    AzureBucket,
    BucketLocation,
    FolderBucket,
    MountedMissing,
    S3Bucket,
    check_mounted,
    read_bucket,
    read_credential,
    read_database_url,
)
from dimse_ingestion.settings.operator import OperatorSettings
from dimse_ingestion.settings.peer_access import PeerAccess
from dimse_ingestion.settings.proxy import ProxySettings
from dimse_ingestion.settings.service import DoorSettings
from dimse_ingestion.settings.storage_space import StorageSpaceSettings

__all__ = [
    "AzureBucket",
    "BucketLocation",
    "CatalogueSettings",
    "ConfigurationMistake",
    "DicomwebSettings",
    "DoorSettings",
    "FolderBucket",
    "IngestionSettings",
    "MountedMissing",
    "NatsSettings",
    "OperatorSettings",
    "PeerAccess",
    "ProxySettings",
    "S3Bucket",
    "StorageSpaceSettings",
    "check_mounted",
    "read_bucket",
    "read_credential",
    "read_database_url",
]
