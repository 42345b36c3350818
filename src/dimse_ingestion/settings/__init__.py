"""The settings of all services, read from the environment and files here and nowhere else.

Each service has one frozen class, which it gets as an argument; nothing is read at import. The
environment names are the original project's where it had them. Mounted ConfigMaps and Secrets may
appear and change while a service runs, so functions (`mounted`) read them when needed.
"""

from dimse_ingestion.settings.catalogue import CatalogueSettings
from dimse_ingestion.settings.dicomweb import DicomwebSettings
from dimse_ingestion.settings.errors import ConfigurationMistake
from dimse_ingestion.settings.ingestion import IngestionSettings
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
from dimse_ingestion.settings.nats import NatsSettings
from dimse_ingestion.settings.operator import OperatorSettings
from dimse_ingestion.settings.peer_access import PeerAccess
from dimse_ingestion.settings.peers import Peer
from dimse_ingestion.settings.proxy import ProxySettings
from dimse_ingestion.settings.service import ServiceSettings
from dimse_ingestion.settings.storage_space import StorageSpaceSettings

__all__ = [
    "AzureBucket",
    "BucketLocation",
    "CatalogueSettings",
    "ConfigurationMistake",
    "DicomwebSettings",
    "FolderBucket",
    "IngestionSettings",
    "MountedMissing",
    "NatsSettings",
    "OperatorSettings",
    "Peer",
    "PeerAccess",
    "ProxySettings",
    "S3Bucket",
    "ServiceSettings",
    "StorageSpaceSettings",
    "check_mounted",
    "read_bucket",
    "read_credential",
    "read_database_url",
]
