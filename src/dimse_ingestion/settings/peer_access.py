"""Access to an HTTP peer: the CA that verifies it, and the bearer token (RFC 6750) to send.

Both may be mounted Secrets that change, so functions read them when needed. `secure_http` uses
them.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from dimse_ingestion.settings.mounted import MountedMissing, check_mounted, read_tokens

_BEARER_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 2.1, b64token


@dataclass(frozen=True, slots=True)
class PeerAccess:
    """The CA and the token for one peer, with the names of the settings they come from."""

    peer: str = "catalogue"
    """The peer's name in messages."""
    url_setting: str = "QUERY_ENDPOINT"
    token_setting: str = "DIMSE_CATALOGUE_TOKEN"  # noqa: S105 - the name of a setting
    ca_setting: str = "DIMSE_CATALOGUE_CA_PATH"
    token: str = field(default="", repr=False)
    """The token, or the absolute path of a file or of a mounted Secret's folder."""
    authority: Path | None = None
    """PEM file of the CA that signed the peer's certificate; None: the system's CAs."""
    secret_name: str = ""
    """The Secret's name in messages; empty: its path."""
    authority_secret_name: str = ""
    """The name of the CA's Secret in messages, if that is another one."""

    def read_tokens(self) -> tuple[str, ...]:
        """Return the current tokens, the one in use first. Raises MountedMissing."""
        tokens = read_tokens(self.token, self._secret, self.secret_name)
        if all(map(_BEARER_TOKEN.fullmatch, tokens)):
            return tokens
        raise MountedMissing(
            f"{self.token_setting} is not a bearer token: use letters, digits and -._~+/ only."
        )

    def read_authority(self) -> str:
        """Return the CA's PEM, or nothing for the system's CAs. Raises MountedMissing."""
        if self.authority is None:
            return ""
        check_mounted(self._secret, self.authority, self.authority_secret_name or self.secret_name)
        try:
            if pem := self.authority.read_text(encoding="ascii").strip():
                return pem
        except (OSError, UnicodeDecodeError):
            pass
        raise self.no_authority()

    def no_authority(self) -> MountedMissing:
        """Return the error about a CA file that can't be used."""
        return MountedMissing(
            f"{self.ca_setting} has no certificate that can be read: mount a PEM file of the CA "
            f"that signed the {self.peer}'s certificate."
        )

    @property
    def _secret(self) -> str:
        return f"{self.peer} Secret"
