"""Sentences for what goes wrong between a client and its peer in TLS or with the token.

They name the setting to correct. No URL, no path and no token stands in them.
"""

import ssl
from collections.abc import Iterator

import httpx2

from dimse_ingestion.settings import PeerAccess

_EXPIRED = {9, 10}  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
_OTHER_HOST = {62, 64}  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH


def tls_failure(error: BaseException, access: PeerAccess) -> str:
    """Return a sentence if TLS, or the want of it, is why `error` was raised; else nothing."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _not_verified(cause, access)
        if isinstance(cause, ssl.SSLError) and cause.reason == "WRONG_VERSION_NUMBER":
            return f"The {access.peer} does not speak TLS: correct {access.url_setting}."
        if isinstance(cause, ssl.SSLError):
            return (
                f"TLS with the {access.peer} fails ({cause.reason}): see the log of the "
                f"{access.peer}, which may have no certificate."
            )
    return ""


def clear_text_failure(error: BaseException, url: str, access: PeerAccess) -> str:
    """Return a sentence if a server that speaks TLS may have been asked in plain HTTP."""
    if not url.startswith("http://") or not isinstance(error, httpx2.RemoteProtocolError):
        return ""
    return (
        f"The {access.peer} broke off: if it speaks TLS, {access.url_setting} must begin with "
        "https://."
    )


def token_failure(access: PeerAccess) -> str:
    """Return the sentence for a 401."""
    if not access.token:
        return f"The {access.peer} asks for a token: set {access.token_setting}."
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
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
