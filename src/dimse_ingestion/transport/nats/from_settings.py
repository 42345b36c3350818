"""The options of the NATS client from a service's settings, for proxy and ingestion service."""

from dimse_ingestion.settings import NatsSettings
from dimse_ingestion.transport.nats.options import NatsOptions
from dimse_ingestion.transport.nats.tls import TlsFiles
from dimse_ingestion.transport.protocol.subjects import Permissions


def nats_options(
    settings: NatsSettings, name: str, required_permissions: Permissions
) -> NatsOptions:
    """Return the options for the client `name`, whose user needs the permissions `needs`."""
    return NatsOptions(
        addresses=settings.nats_url,
        name=name,
        secure=settings.nats_tls_enabled,
        credential=settings.read_credential,
        auth_mode=settings.nats_auth_mode,
        tls=TlsFiles(
            settings.nats_ca_path,
            settings.nats_certificate_path,
            settings.nats_key_path,
            authority_secret=settings.nats_ca_secret_name,
            certificate_secret=settings.nats_certificate_secret_name,
        ),
        tls_handshake_first=settings.nats_tls_handshake_first,
        required_permissions=required_permissions,
        connect_timeout=settings.nats_connect_timeout,
    )
