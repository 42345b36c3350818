import socket
import ssl

import pytest
from nats.errors import Error as NatsError

from dimse_ingestion.transport.nats.connection import PlaintextServer
from dimse_ingestion.transport.nats.credentials import Credential, CredentialError
from dimse_ingestion.transport.nats.errors import (
    CONNECT_ERRORS,
    connect_error_message,
    connection_lost_message,
)
from dimse_ingestion.transport.nats.server_urls import Server

SERVER = Server("tls", "nats.example", 4222)
TOKEN = Credential("a plain token", token="s3cret")
UNTRUSTED = ssl.SSLCertVerificationError(1, "certificate verify failed")
UNTRUSTED.verify_message = "self-signed certificate"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionRefusedError(111, "refused"), "is not reached (connection refused): start it"),
        (socket.gaierror(-2, "Name or service not known"), "can't be found (Name or service"),
        (TimeoutError(), "did not answer in time"),
        (UNTRUSTED, "not trusted (self-signed certificate): configure the CA"),
        (ssl.SSLError(1, "wrong version number"), "failed in the TLS handshake"),
        (NatsError("nats: 'Authorization Violation'"), "The credential is a plain token."),
        (NatsError("nats: 'User Authentication Expired'"), "Renew it in the token Secret"),
        (PlaintextServer(), "offers no TLS, so no credential was sent"),
        (
            ConnectionResetError(104, "Connection reset by peer"),
            "before authentication ([Errno 104] Connection",
        ),
        (NatsError("nats: strange"), "is not reached (strange)"),
    ],
)
def test_each_error_has_its_message(error: Exception, expected: str) -> None:
    assert isinstance(error, CONNECT_ERRORS)
    sentence = connect_error_message(SERVER, error, TOKEN)
    assert sentence.startswith("NATS at tls://nats.example:4222 ")
    assert expected in sentence
    assert "s3cret" not in sentence


def test_a_credential_error_is_its_own_message() -> None:
    assert connect_error_message(SERVER, CredentialError("Put it there."), TOKEN) == "Put it there."


def test_a_long_connect_without_a_refusal_names_the_remedy() -> None:
    gone = ConnectionResetError(104, "Connection reset by peer")
    assert "max_control_line" in connect_error_message(SERVER, gone, TOKEN, connect_bytes=5000)
    assert "max_control_line" not in connect_error_message(SERVER, gone, TOKEN, connect_bytes=500)
    refused = NatsError("nats: 'Authorization Violation'")
    assert "max_control_line" not in connect_error_message(
        SERVER, refused, TOKEN, connect_bytes=5000
    )


def test_an_expired_credential_is_named_as_the_cause() -> None:
    old = Credential("a creds file", expires=1.0)
    refused = NatsError("nats: 'Authorization Violation'")
    assert "It has expired." in connect_error_message(SERVER, refused, old)
    assert "It has expired." not in connect_error_message(SERVER, refused, TOKEN)


def test_a_lost_connection_is_reported_as_reconnecting() -> None:
    assert "was lost (why); it is reconnecting" in connection_lost_message(SERVER, "why")
