"""A door's settings made into what a link needs, for the proxy and the ingestion service alike."""

from dimse_ingestion.settings import NatsSettings
from dimse_ingestion.transport.nats.options import NatsOptions
from dimse_ingestion.transport.nats.tls import TlsFiles
from dimse_ingestion.transport.protocol.subjects import Permissions


def nats_options(
    settings: NatsSettings, name: str, required_permissions: Permissions
) -> NatsOptions:
    """How `name`, which must be allowed what it `needs`, reaches NATS."""
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
