"""The options of the NATS client, and the arguments that it passes to nats-py at each connect."""

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
    """Options of the connection to NATS and its authentication; durations are in seconds."""

    addresses: str | Sequence[str]
    """`host:port` or URLs (see `server_urls`), several by comma or as a sequence."""
    name: str
    """The client's name in the monitoring of NATS."""
    secure: bool = True
    """True if an address without a scheme means TLS."""
    credential: Callable[[], Mapping[str, str]] = dict
    """Reads the keys of the token Secret (see `credentials`), at each connect.

    May raise MountedMissing or CredentialError: its text becomes the client's `problem`.
    """
    auth_mode: Mode = "auto"
    tls: TlsFiles = field(default_factory=TlsFiles)
    tls_handshake_first: bool = False
    required_permissions: Permissions = field(
        default_factory=lambda: Permissions(publish=(), subscribe=())
    )
    """The permissions that the user must have; checked at each connect."""
    connect_timeout: float = 5.0
    """The limit for one attempt to connect as a whole."""
    ping_interval: float = 10.0
    """A connection ends when a ping is not answered within twice this time."""
    max_backoff: float = 2.0

    @property
    def servers(self) -> tuple[Server, ...]:
        """Return the servers to try. Raises AddressError."""
        return parse_servers(self.addresses, secure=self.secure)

    def read_credential(self) -> Credential:
        """Read the current credential. Raises CredentialError."""
        try:
            return parse_credential(self.credential(), self.auth_mode)
        except MountedMissing as missing:
            raise CredentialError(str(missing)) from None

    def connect_options(self, server: Server, credential: Credential) -> dict[str, Any]:
        """Return the arguments of nats-py's `connect`. Raises TlsError."""
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
