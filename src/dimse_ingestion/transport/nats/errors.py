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
    server: Server, error: Exception, credential: Credential, connect_bytes: int = 0
) -> str:
    """Return the message for a connection that could not be opened."""
    at = f"NATS at {server.url}"
    if isinstance(error, CredentialError | TlsError):
        return str(error)
    if isinstance(error, PlaintextServer):
        return (
            f"{at} offers no TLS, so no credential was sent: give the server a certificate, "
            "or set DIMSE_NATS_TLS_ENABLED=false where the network itself is trusted."
        )
    if connect_bytes > DEFAULT_MAX_CONTROL_LINE and not _is_authorization_violation(error):
        return (
            f"{at} ended the connection at our CONNECT of {connect_bytes} bytes: the token is "
            "long; raise max_control_line in the server's configuration (64KB is plenty)."
        )
    return f"{at} {_explain(error, credential)}"


def connection_lost_message(server: Server, reason: str) -> str:
    """Return the message for an established connection that was lost."""
    return f"The connection to NATS at {server.url} was lost ({reason}); it is reconnecting."


def _is_authorization_violation(error: Exception) -> bool:
    return "authorization violation" in str(error).lower()


def _explain(error: Exception, credential: Credential) -> str:
    text = str(error).removeprefix("nats: ").strip("' ")
    if _is_authorization_violation(error) or "authentication" in text.lower():
        return _explain_refusal(text, credential)
    if (tls := _explain_tls(error)) is not None:
        return tls
    if isinstance(error, TimeoutError):
        return (
            "did not answer in time: check the network in between, and set 'TLS handshake "
            "first' if the server has it."
        )
    if isinstance(error, socket.gaierror):
        return f"can't be found ({error.strerror}): correct natsUrl, or the name server."
    if isinstance(error, ConnectionRefusedError):
        return "is not reached (connection refused): start it, or correct natsUrl."
    if isinstance(error, ConnectionError):
        return (
            f"closed the connection before authentication ({text}): see its log; it may require "
            "a client certificate."
        )
    return f"is not reached ({text or type(error).__name__}): check the server and natsUrl."


def _explain_refusal(text: str, credential: Credential) -> str:
    cause = " It has expired." if credential.expired else ""
    return (
        f"refuses the user ({text}). The credential is {credential.kind}.{cause} Renew it in the "
        "token Secret; it is read again at each attempt."
    )


def _explain_tls(error: Exception) -> str | None:
    cause = getattr(error, "certificate_error", None) or error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return (
            f"has a certificate that is not trusted ({cause.verify_message}): configure "
            "the CA that signed it, and an address that it names."
        )
    if isinstance(cause, ssl.SSLError):
        reason = getattr(cause, "reason", None) or cause
        return (
            f"failed in the TLS handshake ({reason}): it may require a client "
            "certificate, have no TLS at this port, or do the handshake first."
        )
    return None
