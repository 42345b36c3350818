"""A server's certificate, loaded again when its files change: new connections get the new one.

Each certificate has a context of its own, which a handshake takes when it begins: one that is under
way while another certificate is loaded, in a thread, keeps certificate and key together. Without a
certificate the port is open and every handshake fails until the Secret exists; `problem` says why.
Files that do not belong together leave the last certificate in use.
"""

import ssl
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from dimse_ingestion.observability.logging import logger
from dimse_ingestion.settings import MountedMissing, check_mounted

_LOG = logger(__name__)


class ServerCertificate:
    """The certificate chain and key (PEM) of a server; `kind` and `secret_name` name the Secret."""

    def __init__(self, certificate: Path, key: Path, kind: str, secret_name: str = "") -> None:
        self.context = _server_context()
        # OpenSSL calls it for every ClientHello, also for one without a server name (RFC 6066 3)
        self.context.sni_callback = self._choose
        self._in_use: ssl.SSLContext | None = None
        self._files = (certificate, key)
        self._kind = kind
        self._secret_name = secret_name
        self._loaded: tuple[bytes, ...] = ()
        self._expires = datetime.max.replace(tzinfo=UTC)
        self._problem = ""

    @property
    def problem(self) -> str:
        """Return a sentence that says why clients can't connect; empty when they can."""
        if not self._loaded:
            return self._problem or "The certificate was not read yet."
        if datetime.now(UTC) > self._expires:
            return f"The {self._kind}'s certificate expired on {self._expires:%Y-%m-%d}: renew it."
        return ""

    def reload(self) -> None:
        """Load the files as they are now, if they can be used. Never raises."""
        try:
            self._load(self._read())
        except MountedMissing as missing:
            self._keep_last(str(missing))
        except (OSError, ValueError) as mistake:  # ssl.SSLError is an OSError
            reason = getattr(mistake, "reason", None) or mistake
            self._keep_last(
                f"The {self._kind}'s certificate can't be used ({reason}): certificate and key "
                "must be PEM, and belong together."
            )

    def _read(self) -> tuple[bytes, ...]:
        for file in self._files:
            check_mounted(f"{self._kind} Secret", file, self._secret_name)
        return tuple(file.read_bytes() for file in self._files)

    def _load(self, content: tuple[bytes, ...]) -> None:
        if content == self._loaded:
            return
        expires = x509.load_pem_x509_certificate(content[0]).not_valid_after_utc
        context = _server_context()
        context.load_cert_chain(*self._files)
        self._in_use = context
        self._loaded, self._expires, self._problem = content, expires, ""
        _LOG.info("The certificate is in use.", expires=f"{expires:%Y-%m-%d}")

    def _choose(
        self, connection: ssl.SSLObject | ssl.SSLSocket, _: str | None, __: ssl.SSLContext
    ) -> None:
        if self._in_use is not None:
            connection.context = self._in_use

    def _keep_last(self, problem: str) -> None:
        if problem != self._problem:
            _LOG.warning(
                "The new certificate can't be used: the last one stays in use."
                if self._loaded
                else "There is no certificate to use: TLS handshakes fail.",
                reason=problem,
            )
        self._problem = problem


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
