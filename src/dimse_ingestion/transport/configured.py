"""A door's settings made into what a link needs, for the proxy and the ingestion service alike."""

from dimse_ingestion.settings import NatsSettings, read_credential
from dimse_ingestion.transport.link_settings import LinkSettings
from dimse_ingestion.transport.link_tls import TlsFiles
from dimse_ingestion.transport.subjects import Permissions


def link_settings(settings: NatsSettings, name: str, needs: Permissions) -> LinkSettings:
    """How `name`, which must be allowed what it `needs`, reaches NATS."""
    return LinkSettings(
        addresses=settings.nats_url,
        name=name,
        secure=settings.nats_tls_enabled,
        credential=lambda: read_credential(settings.nats_auth_token.get_secret_value()),
        auth_mode=settings.nats_auth_mode,
        tls=TlsFiles(settings.nats_ca_path, settings.nats_certificate_path, settings.nats_key_path),
        tls_handshake_first=settings.nats_tls_handshake_first,
        needs=needs,
        connect_timeout=settings.nats_connect_timeout,
    )
