"""HTTP client that verifies its peer by a CA and sends a bearer token; both may be rotated.

Connections stay open, so that a request costs no handshake. After a 401 the token is read again and
the request is repeated with one that was not sent yet: so a token is replaced while both sides run.
Errors are mapped in `failures`.
"""

import ssl
from collections.abc import Callable, Generator

import httpx2

from dimse_ingestion.observability.logging import logger
from dimse_ingestion.secure_http.mounted_value import MountedValue
from dimse_ingestion.settings import MountedMissing, PeerAccess

_LOG = logger(__name__)
_NEWEST = 0.0  # as the age of a value: read it again now


class BearerToken(httpx2.Auth):
    """Send the token in use, and after a 401 each of the other tokens that are mounted now."""

    def __init__(self, tokens: MountedValue[tuple[str, ...]]) -> None:
        self._tokens = tokens

    def auth_flow(
        self, request: httpx2.Request
    ) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Add the token to the request, and repeat it with another after a 401."""
        first = self._tokens.value()[0]
        response = yield _authorized(request, first)
        if response.status_code == httpx2.codes.UNAUTHORIZED:
            for other in self._tokens.value(_NEWEST):
                if other != first and response.status_code == httpx2.codes.UNAUTHORIZED:
                    response = yield _authorized(request, other)


class SecureClient:
    """The HTTP client for one peer; `make` makes a client from `verify` and `auth`."""

    def __init__(self, access: PeerAccess, make: Callable[..., httpx2.AsyncClient]) -> None:
        self.access = access
        self._make = make
        self._authority = MountedValue(access.read_authority)
        self._auth = BearerToken(MountedValue(access.read_tokens)) if access.token else None
        self._trusted: str | None = None
        self._clients: list[httpx2.AsyncClient] = []

    def current(self) -> httpx2.AsyncClient:
        """Return the client that trusts what is mounted now. Raises MountedMissing.

        Requests under way stay with the client that sends them; it is closed by `close`.
        """
        authority = self._authority.value()
        if authority != self._trusted:
            self._trust(authority)
        return self._clients[-1]

    def _trust(self, authority: str) -> None:
        """Make a client that trusts `authority`; a CA that can't be read leaves the last in use."""
        try:
            verify = self._verify(authority)
        except MountedMissing as missing:
            if not self._clients:
                raise
            _LOG.warning(
                "The new CA can't be used: the last one stays in use.", reason=str(missing)
            )
        else:
            # HTTPS_PROXY is for peers outside the cluster; one with a CA of its own is inside
            trust_env = self.access.authority is None
            self._clients.append(self._make(verify=verify, auth=self._auth, trust_env=trust_env))
        self._trusted = authority

    async def close(self) -> None:
        """Close all connections."""
        for client in self._clients:
            await client.aclose()

    def _verify(self, authority: str) -> ssl.SSLContext | bool:
        if not authority:
            return True
        try:
            context = ssl.create_default_context(cadata=authority)
        except (ssl.SSLError, ValueError):
            raise self.access.no_authority() from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


def _authorized(request: httpx2.Request, token: str) -> httpx2.Request:
    request.headers["authorization"] = f"Bearer {token}"
    return request
