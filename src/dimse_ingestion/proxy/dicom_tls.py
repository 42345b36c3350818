"""TLS at the DIMSE port: the BCP 195 RFC 9325 profiles of PS3.15 annex B, by Python's ssl.

Without a certificate the port is without TLS. An unusable certificate is a ConfigurationMistake.
"""

import ssl
from pathlib import Path

from dimse_ingestion.settings import ConfigurationMistake, ProxySettings

_CIPHERS_OF_TLS_1_2 = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM"  # RFC 9325 4.2


def server_context(settings: ProxySettings) -> ssl.SSLContext | None:
    """Return the listener's TLS context, or None without a certificate.

    Raises ConfigurationMistake naming the variable whose file can't be used.
    """
    certificate, key = settings.tls_certificate_path, settings.tls_key_path
    if certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS_OF_TLS_1_2)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        sentence = f"DIMSE_TLS_CERTIFICATE_PATH, DIMSE_TLS_KEY_PATH: no PEM pair ({error})."
        raise ConfigurationMistake([sentence]) from error
    if settings.tls_client_ca_path is not None:
        _require_client_certificates(context, settings.tls_client_ca_path)
    return context


def _require_client_certificates(context: ssl.SSLContext, authority: Path) -> None:
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(authority)
    except (OSError, ssl.SSLError) as error:
        sentence = f"DIMSE_TLS_CLIENT_CA_PATH: {authority} has no certificate ({error})."
        raise ConfigurationMistake([sentence]) from error
