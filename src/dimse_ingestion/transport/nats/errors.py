"""The messages for an operator about failed and lost connections to NATS, each with a remedy.

Exceptions of nats-py, aiohttp, ssl and socket are translated here and go no further.
"""

import asyncio
import socket
import ssl

import aiohttp
from nats.errors import Error as NatsError

from dimse_ingestion.transport.carrier import CarrierDown
from dimse_ingestion.transport.nats.connection import PlaintextServer
from dimse_ingestion.transport.nats.credentials import Credential, CredentialError
from dimse_ingestion.transport.nats.server_urls import Server
from dimse_ingestion.transport.nats.tls import TlsError

DEFAULT_MAX_CONTROL_LINE = 4096
"""Bytes of a CONNECT that a nats-server accepts unless its max_control_line is raised."""

CONNECT_ERRORS = (
    OSError,
    TimeoutError,
    asyncio.IncompleteReadError,
    NatsError,
    aiohttp.ClientError,
    ValueError,
    CarrierDown,
    PlaintextServer,
)
"""Exceptions that opening a connection may raise."""


def connect_error_message(
    server: Server, trouble: Exception, credential: Credential, connect_bytes: int = 0
) -> str:
    """Return the message for a connection that could not be opened."""
    at = f"NATS at {server.url}"
    if isinstance(trouble, CredentialError | TlsError):
        return str(trouble)
    if isinstance(trouble, PlaintextServer):
        return (
            f"{at} offers no TLS, so no credential was sent: give the server a certificate, "
            "or set DIMSE_NATS_TLS_ENABLED=false where the network itself is trusted."
        )
    if connect_bytes > DEFAULT_MAX_CONTROL_LINE and not _is_authorization_violation(trouble):
        return (
            f"{at} ended the connection at our CONNECT of {connect_bytes} bytes: the token is "
            "long; raise max_control_line in the server's configuration (64KB is plenty)."
        )
    return f"{at} {_explain(trouble, credential)}"


def connection_lost_message(server: Server, reason: str) -> str:
    """Return the message for an established connection that was lost."""
    return f"The connection to NATS at {server.url} was lost ({reason}); it is reconnecting."


def _is_authorization_violation(trouble: Exception) -> bool:
    return "authorization violation" in str(trouble).lower()


def _explain(trouble: Exception, credential: Credential) -> str:
    text = str(trouble).removeprefix("nats: ").strip("' ")
    if _is_authorization_violation(trouble) or "authentication" in text.lower():
        return _explain_refusal(text, credential)
    if (tls := _explain_tls(trouble)) is not None:
        return tls
    if isinstance(trouble, TimeoutError):
        return (
            "did not answer in time: check the network in between, and set 'TLS handshake "
            "first' if the server has it."
        )
    if isinstance(trouble, socket.gaierror):
        return f"can't be found ({trouble.strerror}): correct natsUrl, or the name server."
    if isinstance(trouble, ConnectionRefusedError):
        return "is not reached (connection refused): start it, or correct natsUrl."
    if isinstance(trouble, ConnectionError):
        return (
            f"closed the connection before authentication ({text}): see its log; it may require "
            "a client certificate."
        )
    return f"is not reached ({text or type(trouble).__name__}): check the server and natsUrl."


def _explain_refusal(text: str, credential: Credential) -> str:
    cause = " It has expired." if credential.expired else ""
    return (
        f"refuses the user ({text}). The credential is {credential.kind}.{cause} Renew it in the "
        "token Secret; it is read again at each attempt."
    )


def _explain_tls(trouble: Exception) -> str | None:
    error = getattr(trouble, "certificate_error", None) or trouble
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"has a certificate that is not trusted ({error.verify_message}): configure "
            "the CA that signed it, and an address that it names."
        )
    if isinstance(error, ssl.SSLError):
        reason = getattr(error, "reason", None) or error
        return (
            f"failed in the TLS handshake ({reason}): it may require a client "
            "certificate, have no TLS at this port, or do the handshake first."
        )
    return None
