"""What a link needs to know, filled by the doors, and what it makes of it at each connect."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dimse_ingestion.settings.mounted import MountedMissing
from dimse_ingestion.transport.nats.credentials import (
    Credential,
    CredentialError,
    Mode,
    parse_credential,
    sign_nonce,
)
from dimse_ingestion.transport.nats.server_urls import Server, parse_servers
from dimse_ingestion.transport.nats.tls import TlsFiles
from dimse_ingestion.transport.protocol.subjects import Permissions


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsOptions:
    """How to reach NATS and be let in. Times are in seconds."""

    addresses: str | Sequence[str]
    """`host:port` or URLs (see `servers`), several by comma or as a sequence."""
    name: str
    """Who we are, as NATS' monitoring shows it."""
    secure: bool = True
    """Whether an address without a scheme is spoken to over TLS."""
    credential: Callable[[], Mapping[str, str]] = dict
    """Reads the keys of the token Secret (see `credentials`), anew at each connect.

    May raise MountedMissing or CredentialMistake: the sentence becomes the link's trouble.
    """
    auth_mode: Mode = "auto"
    tls: TlsFiles = field(default_factory=TlsFiles)
    tls_handshake_first: bool = False
    required_permissions: Permissions = field(
        default_factory=lambda: Permissions(publish=(), subscribe=())
    )
    """What the user must be allowed; asked at each connect."""
    connect_timeout: float = 5.0
    """The longest that one try may take as a whole."""
    ping_interval: float = 10.0
    """A ping not answered for twice as long ends the connection."""
    max_backoff: float = 2.0

    @property
    def servers(self) -> tuple[Server, ...]:
        """The servers to try. Raises AddressMistake."""
        return parse_servers(self.addresses, secure=self.secure)

    def read_credential(self) -> Credential:
        """Who we are now. Raises CredentialMistake."""
        try:
            return parse_credential(self.credential(), self.auth_mode)
        except MountedMissing as missing:
            raise CredentialError(str(missing)) from None

    def connect_options(self, server: Server, credential: Credential) -> dict[str, Any]:
        """What nats-py's `connect` is given. Raises TlsMistake."""
        return {
            "name": self.name,
            "connect_timeout": self.connect_timeout,
            "tls": self.tls.context(),
            "tls_handshake_first": self.tls_handshake_first
            and server.encrypted
            and not server.websocket,
            **_authentication_options(credential),
        }


def _authentication_options(credential: Credential) -> dict[str, Any]:
    if credential.jwt:
        return {
            "user_jwt_cb": credential.jwt.encode,
            "signature_cb": lambda nonce: sign_nonce(credential.seed, nonce),
        }
    if credential.seed:
        return {"nkeys_seed_str": credential.seed}
    if credential.user:
        return {"user": credential.user, "password": credential.password}
    return {"token": credential.token} if credential.token else {}
