"""Failures of a peer (the event sink or the catalogue) with sentences that say what to do.

Errors of connections and TLS and HTTP statuses become a Failure here, in one place for every
client. The sentences name the setting to correct; they contain no token. Which requests are sent is
`events.http_sink`'s and `queries.http_client`'s part.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus

import aiohttp

from dimse_ingestion.failures import Failure, Refused, Unavailable
from dimse_ingestion.secure_http.connection import BrokenOff
from dimse_ingestion.secure_http.direct import NotReached
from dimse_ingestion.secure_http.path_probe import NO_HANDLER
from dimse_ingestion.settings import MountedMissing, PeerAccess

_TRANSIENT = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_BROKEN_OFF = (
    aiohttp.ClientConnectionError,
    aiohttp.ClientPayloadError,
    aiohttp.ClientResponseError,
    BrokenOff,
)
_NOT_REACHED = (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError, NotReached)
_EXPIRED = {9, 10}  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
_OTHER_HOST = {62, 64}  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH


@dataclass(frozen=True, slots=True)
class PeerFailures:
    """The failures of the peer at `url`.

    `singular` and `plural` name what is sent to it. What it refuses for good is Refused; everything
    that may pass is Unavailable.
    """

    access: PeerAccess
    url: str
    singular: str
    plural: str

    @contextmanager
    def mapped(self, seconds: float) -> Iterator[None]:
        """Raise Unavailable for errors within the block; `seconds` is the timeout it names."""
        peer = self.access.peer
        try:
            yield
        except TimeoutError:
            sentence = f"The {peer} gave no answer in {seconds:g} s ({self.url})."
            raise Unavailable(sentence) from None
        except MountedMissing as missing:
            raise Unavailable(str(missing)) from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(self._sentence(error)) from error

    def refusal(self, status: int) -> Failure:
        """Return the failure for an answer with this HTTP status, which is not a 2xx.

        A refused token is transient: a rotation reaches both sides within moments, not at once. So
        is the wrong port, while both sides are changed to TLS.
        """
        peer, setting = self.access.peer, self.access.url_setting
        if status == HTTPStatus.UNAUTHORIZED:
            return Unavailable(token_failure(self.access))
        if status == HTTPStatus.MISDIRECTED_REQUEST:
            return Unavailable(wrong_port_failure(self.access))
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRANSIENT:
            return Unavailable(f"The {peer} fails with HTTP {status}: see its log ({self.url}).")
        if status in NO_HANDLER or HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            return Refused(
                f"The {peer} takes no {self.plural} at this path (HTTP {status}): "
                f"correct {setting} ({self.url}).",
            )
        return Refused(f"The {peer} refuses the {self.singular} with HTTP {status} ({self.url}).")

    def _sentence(self, error: Exception) -> str:
        access = self.access
        if known := (
            tls_failure(error, access)
            or handshake_failure(error, self.url, access)
            or clear_text_failure(error, self.url, access)
        ):
            return known
        if is_broken_off(error):
            return f"The {access.peer} broke off its answer ({self.url})."
        setting = access.url_setting
        return f"The {access.peer} is not reached: start it or correct {setting} ({self.url})."


def is_broken_off(error: BaseException) -> bool:
    """Return whether the peer was reached and then closed the connection, or sent no HTTP."""
    return isinstance(error, _BROKEN_OFF) and not isinstance(error, _NOT_REACHED)


def tls_failure(error: BaseException, access: PeerAccess) -> str:
    """Return a sentence if TLS, or a peer without it, caused `error`; else an empty one."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _not_verified(cause, access)
        if isinstance(cause, ssl.SSLError) and cause.reason == "WRONG_VERSION_NUMBER":
            return f"The {access.peer} does not speak TLS: correct {access.url_setting}."
        if isinstance(cause, ssl.SSLError):
            return _no_handshake(str(cause.reason), access)
    return ""


def handshake_failure(error: BaseException, url: str, access: PeerAccess) -> str:
    """Return a sentence if the peer closed the connection during the TLS handshake."""
    is_closed = isinstance(error, _NOT_REACHED) and any(
        isinstance(cause, ConnectionResetError) for cause in _causes(error)
    )
    return _no_handshake("connection closed", access) if is_closed and _is_https(url) else ""


def _no_handshake(reason: str, access: PeerAccess) -> str:
    return (
        f"TLS with the {access.peer} fails ({reason}): see the log of the {access.peer}, which may "
        "have no certificate."
    )


def _is_https(url: str) -> bool:
    return url.startswith("https://")


def clear_text_failure(error: BaseException, url: str, access: PeerAccess) -> str:
    """Return a sentence if plain HTTP may have been sent to a TLS server; else an empty one."""
    if not url.startswith("http://") or not is_broken_off(error):
        return ""
    return (
        f"The {access.peer} broke off: if it speaks TLS, {access.url_setting} must begin with "
        "https://."
    )


def token_failure(access: PeerAccess) -> str:
    """Return the sentence for a 401."""
    if not access.token:
        return f"The {access.peer} requires a token: set {access.token_setting}."
    where = f" in {access.peer} Secret {access.secret_name}" if access.secret_name else ""
    return f"The {access.peer} refuses the token: correct {access.token_setting}{where}."


def wrong_port_failure(access: PeerAccess) -> str:
    """Return the sentence for a 421."""
    return f"The {access.peer} takes this over TLS, at another port: correct {access.url_setting}."


def _not_verified(error: ssl.SSLCertVerificationError, access: PeerAccess) -> str:
    if error.verify_code in _EXPIRED:
        return (
            f"The {access.peer}'s certificate is not valid now: {error.verify_message}; renew it."
        )
    if error.verify_code in _OTHER_HOST:
        return (
            f"The {access.peer}'s certificate is for another host: correct {access.url_setting} or "
            "the certificate."
        )
    return (
        f"The {access.peer}'s certificate is of a CA that is not trusted: correct "
        f"{access.ca_setting}."
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and what caused it, without aiohttp's, which lack the attributes of ssl's."""
    while error is not None:
        if not isinstance(error, aiohttp.ClientError):
            yield error
        error = error.__cause__ or error.__context__
