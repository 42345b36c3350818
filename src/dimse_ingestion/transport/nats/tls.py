"""TLS to NATS: always verified, with the system's CAs or a CA of the operator.

There is no option to skip verification: patient data crosses this connection.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path

from dimse_ingestion.settings import MountedMissing, check_mounted


class TlsError(Exception):
    """A certificate file cannot be used; the text says which and why. It may be replaced later."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files, read at each connect, so that certificates can be rotated."""

    authority: Path | None = None
    """The CA of the server's certificate; without it, the system's CAs."""
    certificate: Path | None = None
    """The client certificate, for a server that requires one."""
    key: Path | None = None
    authority_secret: str = ""
    """The name of the Secret of the CA, for error messages; empty to use the path."""
    certificate_secret: str = ""

    def context(self) -> ssl.SSLContext:
        """Return a context that verifies name and chain. Raises TlsError."""
        self._check_mounted()
        context = _verifying_context(self.authority)
        if self.certificate is not None:
            _load_client_certificate(context, self.certificate, self.key)
        return context

    def _check_mounted(self) -> None:
        try:
            if self.authority is not None:
                check_mounted("NATS CA Secret", self.authority, self.authority_secret)
            for file in (self.certificate, self.key):
                if file is not None:
                    check_mounted("NATS client certificate Secret", file, self.certificate_secret)
        except MountedMissing as missing:
            raise TlsError(str(missing)) from None


def _verifying_context(authority: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(authority) if authority else None)
    except (OSError, ssl.SSLError) as error:
        raise TlsError(
            f"The CA certificate of NATS can't be read from {authority} ({_reason(error)}): "
            "mount a PEM file of the authority that signed the server's certificate."
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _load_client_certificate(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise TlsError(
            f"The client certificate for NATS can't be used: {certificate} with key {key} "
            f"({_reason(error)}). Both must be PEM, and belong together."
        ) from None


def _reason(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or str(error)
