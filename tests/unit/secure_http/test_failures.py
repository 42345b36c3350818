import ssl
from dataclasses import replace
from unittest.mock import Mock

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from dimse_ingestion.failures import Refused, Unavailable
from dimse_ingestion.secure_http.failures import (
    PeerFailures,
    clear_text_failure,
    handshake_failure,
    tls_failure,
    token_failure,
    wrong_port_failure,
)
from dimse_ingestion.settings import MountedMissing, PeerAccess

SINK = PeerAccess("event sink", "K_SINK", "DIMSE_EVENT_SINK_TOKEN", "DIMSE_EVENT_SINK_CA_PATH")


KEY = ConnectionKey("sink", 443, True, True, None, None, None)


def raised(cause: Exception) -> aiohttp.ClientConnectorError:
    """Return an error of aiohttp with the cause in asyncio."""
    kind = (
        aiohttp.ClientConnectorCertificateError
        if isinstance(cause, ssl.SSLCertVerificationError)
        else aiohttp.ClientConnectorError
    )
    error = kind(KEY, OSError("no connection"))
    error.__cause__ = RuntimeError("the event loop's")
    error.__cause__.__context__ = cause
    return error


BROKEN_OFF = [
    aiohttp.ServerDisconnectedError(),
    aiohttp.ClientOSError(104, "Connection reset by peer"),
    aiohttp.ClientPayloadError("not complete"),
    aiohttp.ClientResponseError(Mock(), (), status=400, message="Expected HTTP/"),
]


def not_verified(code: int, message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = code, message
    return error


def ssl_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError()
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (not_verified(10, "certificate has expired"), "certificate has expired; renew it."),
        (not_verified(9, "certificate is not yet valid"), "not yet valid; renew it."),
        (not_verified(62, "Hostname mismatch"), "for another host: correct K_SINK"),
        (not_verified(64, "IP address mismatch"), "for another host: correct K_SINK"),
        (not_verified(18, "self-signed"), "not trusted: correct DIMSE_EVENT_SINK_CA_PATH."),
        (not_verified(20, "no issuer"), "not trusted: correct DIMSE_EVENT_SINK_CA_PATH."),
        (ssl_error("WRONG_VERSION_NUMBER"), "does not speak TLS: correct K_SINK."),
        (ssl_error("SSLV3_ALERT_HANDSHAKE_FAILURE"), "which may have no certificate."),
    ],
)
def test_a_tls_error_has_a_sentence_that_names_the_setting(
    cause: ssl.SSLError, expected: str
) -> None:
    sentence = tls_failure(raised(cause), SINK)
    assert expected in sentence
    assert "event sink" in sentence


def test_another_failure_is_not_of_tls() -> None:
    assert tls_failure(raised(ConnectionRefusedError()), SINK) == ""
    broken = aiohttp.ServerDisconnectedError()
    assert clear_text_failure(broken, "https://core", SINK) == ""
    assert clear_text_failure(raised(OSError()), "http://core", SINK) == ""
    assert "must begin with https://" in clear_text_failure(broken, "http://core", SINK)


def test_a_connection_that_is_closed_during_the_handshake_is_of_tls() -> None:
    closed = raised(ConnectionResetError())
    sentence = "TLS with the event sink fails (connection closed): see the log of the event sink"
    assert handshake_failure(closed, "https://core", SINK).startswith(sentence)
    assert handshake_failure(closed, "http://core", SINK) == ""
    assert handshake_failure(raised(ConnectionRefusedError()), "https://core", SINK) == ""
    broken = aiohttp.ClientOSError(104, "Connection reset by peer")
    assert handshake_failure(broken, "https://core", SINK) == ""


def test_a_421_names_the_setting() -> None:
    assert wrong_port_failure(SINK) == (
        "The event sink takes this over TLS, at another port: correct K_SINK."
    )


def test_a_401_names_the_setting_and_the_secret() -> None:
    assert token_failure(SINK) == "The event sink requires a token: set DIMSE_EVENT_SINK_TOKEN."
    known = PeerAccess(token="/etc/catalogue", secret_name="core-catalogue")
    assert token_failure(known) == (
        "The catalogue refuses the token: correct DIMSE_CATALOGUE_TOKEN in catalogue Secret "
        "core-catalogue."
    )


FAILURES = PeerFailures(SINK, "http://sink/events", "event", "events")


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (404, "The event sink takes no events at this path (HTTP 404): correct K_SINK"),
        (405, "The event sink takes no events at this path (HTTP 405): correct K_SINK"),
        (308, "The event sink takes no events at this path (HTTP 308): correct K_SINK"),
        (400, "The event sink refuses the event with HTTP 400"),
    ],
)
def test_what_a_peer_refuses_for_good_is_refused(status: int, sentence: str) -> None:
    failure = FAILURES.refusal(status)
    assert (type(failure), failure.transient) == (Refused, False)
    assert failure.comment == f"{sentence} (http://sink/events)."


@pytest.mark.parametrize("status", [401, 408, 421, 425, 429, 500, 503])
def test_a_status_that_may_pass_is_transient(status: int) -> None:
    failure = FAILURES.refusal(status)
    assert (type(failure), failure.transient) == (Unavailable, True)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (TimeoutError(), "The event sink gave no answer in 2.5 s (http://sink/events)."),
        (
            aiohttp.SocketTimeoutError(),
            "The event sink gave no answer in 2.5 s (http://sink/events).",
        ),
        (MountedMissing("The Secret is missing."), "The Secret is missing."),
        (
            aiohttp.ClientConnectorError(KEY, OSError()),
            "The event sink is not reached: start it or correct K_SINK (http://sink/events).",
        ),
        (
            aiohttp.ClientHttpProxyError(Mock(), (), status=502),
            "The event sink is not reached: start it or correct K_SINK (http://sink/events).",
        ),
        (
            aiohttp.InvalidURL("http://["),
            "The event sink is not reached: start it or correct K_SINK (http://sink/events).",
        ),
        *(
            (
                each,
                "The event sink broke off: if it speaks TLS, K_SINK must begin with https://.",
            )
            for each in BROKEN_OFF
        ),
    ],
)
def test_errors_of_a_request_are_transient_failures(error: Exception, sentence: str) -> None:
    with pytest.raises(Unavailable) as raised, FAILURES.mapped(2.5):
        raise error
    assert raised.value.comment == sentence
    assert raised.value.transient


@pytest.mark.parametrize("error", BROKEN_OFF)
def test_an_answer_over_tls_that_was_broken_off_names_the_address(error: Exception) -> None:
    secure = replace(FAILURES, url="https://sink/events")
    with pytest.raises(Unavailable) as raised, secure.mapped(2.5):
        raise error
    assert raised.value.comment == "The event sink broke off its answer (https://sink/events)."


def test_a_failure_within_the_block_passes_unchanged() -> None:
    failure = Refused("The event is invalid.")
    with pytest.raises(Refused) as raised_failure, FAILURES.mapped(2.5):
        raise failure
    assert raised_failure.value is failure
