"""HTTP client that verifies its peer by a CA and sends a bearer token; both may be rotated.

Connections stay open, so that a request costs no handshake. After a 401 the token is read again and
the request is repeated with one that was not sent yet: so a token is replaced while both sides run.
Redirects are not followed. Errors are mapped in `failures`.
"""

import io
import ssl
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Any

import aiohttp
import httpx2
from aiohttp import hdrs

from dimse_ingestion.observability.logging import logger
from dimse_ingestion.secure_http.mounted_value import MountedValue
from dimse_ingestion.settings import MountedMissing, PeerAccess

_LOG = logger(__name__)
_NEWEST = 0.0  # as the age of a value: read it again now
_SENT_AT_ONCE = 2**20  # bytes; a longer body is sent in pieces, other tasks run in between


class BearerToken:
    """Client middleware that sends the token in use, and after a 401 each other mounted token."""

    def __init__(self, tokens: MountedValue[tuple[str, ...]]) -> None:
        self._tokens = tokens

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Add the token to the request, and repeat it with another after a 401."""
        first = self._tokens.value()[0]
        response = await handler(_authorized(request, first))
        if response.status == HTTPStatus.UNAUTHORIZED:
            for other in self._tokens.value(_NEWEST):
                if other != first and response.status == HTTPStatus.UNAUTHORIZED:
                    response.release()
                    response = await handler(_authorized(request, other))
        return response


class SecureClient:
    """The HTTP client for one peer.

    A request waits at most `timeout` seconds for a connection, and as long for each piece of the
    answer. At most `connections` are open.
    """

    def __init__(self, access: PeerAccess, *, timeout: float, connections: int) -> None:
        self.access = access
        self._connections = connections
        self._timeout = aiohttp.ClientTimeout(total=None, connect=timeout, sock_read=timeout)
        self._authority = MountedValue(access.read_authority)
        tokens = MountedValue(access.read_tokens)
        self._middlewares = (BearerToken(tokens),) if access.token else ()
        self._trusted: str | None = None
        self._sessions: list[aiohttp.ClientSession] = []

    def request(
        self,
        method: str,
        url: str,
        body: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Return the answer to a request, as a context manager in which its body is read.

        `seconds` limits the whole of it. Raises MountedMissing and aiohttp's exceptions.
        """
        options: dict[str, Any] = {}
        if seconds is not None:
            options["timeout"] = aiohttp.ClientTimeout(total=seconds)
        return self.session().request(
            method,
            url,
            data=body if len(body) <= _SENT_AT_ONCE else io.BytesIO(body),
            headers=headers,
            params=params,
            allow_redirects=False,
            **options,
        )

    def session(self) -> aiohttp.ClientSession:
        """Return the session that trusts what is mounted now. Raises MountedMissing.

        Requests under way stay with the session that sends them; it is closed by `close`.
        """
        authority = self._authority.value()
        if authority != self._trusted:
            self._trust(authority)
        return self._sessions[-1]

    def _trust(self, authority: str) -> None:
        """Open a session that trusts `authority`; without a valid CA the last stays in use."""
        try:
            context = self._context(authority)
        except MountedMissing as missing:
            if not self._sessions:
                raise
            _LOG.warning(
                "The new CA can't be used: the last one stays in use.", reason=str(missing)
            )
        else:
            self._sessions.append(self._open_session(context))
        self._trusted = authority

    async def close(self) -> None:
        """Close all connections."""
        for session in self._sessions:
            await session.close()

    def _open_session(self, context: ssl.SSLContext) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=self._connections,
            ssl=context,
            use_dns_cache=False,  # a peer that moved is found by its next connection
        )
        return aiohttp.ClientSession(
            connector=connector,
            timeout=self._timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            middlewares=self._middlewares,
            # HTTPS_PROXY is for peers outside the cluster; one with a CA of its own is inside
            trust_env=self.access.authority is None,
        )

    def _context(self, authority: str) -> ssl.SSLContext:
        if not authority:
            return httpx2.create_ssl_context()  # finds the system's CAs, wherever they are
        try:
            context = ssl.create_default_context(cadata=authority)
        except (ssl.SSLError, ValueError):
            raise self.access.no_authority() from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


def _authorized(request: aiohttp.ClientRequest, token: str) -> aiohttp.ClientRequest:
    request.headers[hdrs.AUTHORIZATION] = f"Bearer {token}"
    return request
