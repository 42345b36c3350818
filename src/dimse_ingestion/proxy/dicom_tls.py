"""TLS of DIMSE, at the port and to peers: the BCP 195 RFC 9325 profiles of PS3.15 annex B.

It is Python's ssl. Without a certificate the port is without TLS. An unusable certificate is a
ConfigurationMistake.
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
    context = _restricted(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    _load_certificate(context, certificate, key)
    if settings.tls_client_ca_path is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        _load_authority(context, settings.tls_client_ca_path, "DIMSE_TLS_CLIENT_CA_PATH")
    return context


def client_context(settings: ProxySettings) -> ssl.SSLContext | None:
    """Return the TLS context of connections to peers, or None if no peer has `tls`.

    The peer's certificate and its name are verified; the port's certificate is presented to a peer
    that requires one. Raises ConfigurationMistake naming the variable whose file can't be used.
    """
    if not any(peer.tls for peer in settings.peers):
        return None
    context = _restricted(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    if settings.peer_ca_path is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        _load_authority(context, settings.peer_ca_path, "DIMSE_PEER_CA_PATH")
    if settings.tls_certificate_path is not None:
        _load_certificate(context, settings.tls_certificate_path, settings.tls_key_path)
    return context


def _restricted(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS_OF_TLS_1_2)
    return context


def _load_certificate(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        sentence = f"DIMSE_TLS_CERTIFICATE_PATH, DIMSE_TLS_KEY_PATH: no PEM pair ({error})."
        raise ConfigurationMistake([sentence]) from error


def _load_authority(context: ssl.SSLContext, authority: Path, variable: str) -> None:
    try:
        context.load_verify_locations(authority)
    except (OSError, ssl.SSLError) as error:
        sentence = f"{variable}: {authority} has no certificate ({error})."
        raise ConfigurationMistake([sentence]) from error
