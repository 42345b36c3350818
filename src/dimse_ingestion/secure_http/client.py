"""HTTP client that verifies its peer by a CA and sends a bearer token; both may be rotated.

Connections stay open, so that a request costs no handshake. After a 401 the token is read again and
the request is repeated with one that was not sent yet: so a token is replaced while both sides run.
Redirects are not followed. Errors are mapped in `failures`.
"""

import io
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from typing import Any, Protocol
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx2
from aiohttp import hdrs

from dimse_ingestion.observability.logging import logger
from dimse_ingestion.secure_http import direct
from dimse_ingestion.secure_http.connection import Target
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
        tokens = _tokens_in_turn(self._tokens)
        response = await handler(_authorized(request, next(tokens)))
        while response.status == HTTPStatus.UNAUTHORIZED and (other := next(tokens, "")):
            response.release()
            response = await handler(_authorized(request, other))
        return response


class Answer(Protocol):
    """The answer to a request; its body is read once, as a whole or in pieces."""

    status: int

    async def read(self) -> bytes:
        """Return the whole body."""

    def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives."""


class _AiohttpAnswer:
    """The answer to a request that aiohttp has sent."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.status = response.status
        self.read = response.read
        self.pieces = response.content.iter_any


class SecureClient:
    """The HTTP client for one peer.

    A request waits at most `timeout` seconds for a connection, and as long for each piece of the
    answer. At most `connections` are open, and as many for `post`.
    """

    _context_in_use: ssl.SSLContext

    def __init__(self, access: PeerAccess, *, timeout: float, connections: int) -> None:
        self.access = access
        self._connections = connections
        self._timeout = aiohttp.ClientTimeout(total=None, connect=timeout, sock_read=timeout)
        self._authority = MountedValue(access.read_authority)
        tokens = MountedValue(access.read_tokens)
        self._middlewares = (BearerToken(tokens),) if access.token else ()
        self._trusted: str | None = None
        self._sessions: list[aiohttp.ClientSession] = []
        self._tokens = tokens
        self._kept = direct.Connections(timeout=timeout, most=connections)
        self._targets: dict[tuple[str, ...], Target | None] = {}

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

    @asynccontextmanager
    async def post(
        self,
        url: str,
        body: bytes,
        *,
        headers: Mapping[str, str],
        params: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Answer]:
        """Send a POST that may be sent twice: a query, or events, which are known by their ids.

        The answer's body is read in the block. It costs a fraction of `request`. Raises
        MountedMissing, exceptions of aiohttp and of `direct`, and TimeoutError.
        """
        self.session()  # a new CA makes a new context
        target = self._target(url, params or {})
        if target is None or len(body) > _SENT_AT_ONCE:
            async with self.request("POST", url, body, headers=headers, params=params) as response:
                yield _AiohttpAnswer(response)
        elif not self.access.token:
            async with self._kept.post(target, body, headers, self._context_in_use) as answer:
                yield answer
        else:
            async with AsyncExitStack() as stack:
                yield await self._post_with_token(target, body, headers, stack)

    async def _post_with_token(
        self,
        target: Target,
        body: bytes,
        headers: Mapping[str, str],
        stack: AsyncExitStack,
    ) -> Answer:
        """Return the answer to a request that is sent as `BearerToken` sends requests."""

        async def send(token: str) -> direct.Answer:
            authorized = {**headers, "authorization": f"Bearer {token}"}
            post = self._kept.post(target, body, authorized, self._context_in_use)
            return await stack.enter_async_context(post)

        tokens = _tokens_in_turn(self._tokens)
        answer = await send(next(tokens))
        while answer.status == HTTPStatus.UNAUTHORIZED and (other := next(tokens, "")):
            await answer.read()
            await stack.aclose()
            answer = await send(other)
        return answer

    def _target(self, url: str, params: Mapping[str, str]) -> Target | None:
        """Return where a request is sent directly; None if a proxy, or aiohttp's rules, apply."""
        key = url, *params.values()
        if key not in self._targets:
            self._targets[key] = self._direct_target(url, params)
        return self._targets[key]

    def _direct_target(self, url: str, params: Mapping[str, str]) -> Target | None:
        target = direct.parse_target(url, params)
        if target is None or self.access.authority is not None:
            return target
        proxies = getproxies()
        has_proxy = target.scheme in proxies and not proxy_bypass(target.host)
        return None if has_proxy else target

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
            self._context_in_use = context
        self._trusted = authority

    async def close(self) -> None:
        """Close all connections."""
        self._kept.close()
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


def _tokens_in_turn(tokens: MountedValue[tuple[str, ...]]) -> Iterator[str]:
    """Yield the token in use, then, from a volume that is read again, each other token."""
    first = tokens.value()[0]
    yield first
    yield from (other for other in tokens.value(_NEWEST) if other != first)


def _authorized(request: aiohttp.ClientRequest, token: str) -> aiohttp.ClientRequest:
    request.headers[hdrs.AUTHORIZATION] = f"Bearer {token}"
    return request
