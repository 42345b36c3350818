"""Who may ask: everybody, bearers of a token, or users that a trusted proxy names.

Around all services; what is no service (the page's files) has no patient data and is not asked for.
A refusal is 401 with WWW-Authenticate (RFC 6750). Which keys sign tokens is `signing_keys`' matter.
"""

from http import HTTPStatus
from typing import Protocol

import jwt
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.dicomweb.http.urls import ServiceUrls
from dimse_ingestion.dicomweb.middleware.jwks import SigningKeys
from dimse_ingestion.settings import DicomwebSettings

_LEEWAY = 30  # seconds by which clocks may differ
_ALGORITHMS = [
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
]
"""Asymmetric ones only: a published key must not verify a signature made with it."""
_PROTECTED = ("/dicomweb", "/wado")


class Check(Protocol):
    """Decides on one request."""

    async def __call__(self, request: Request) -> None:
        """Raise Problem when it may not be asked."""


class AuthMiddleware:
    """Lets requests through to `app` that `check` lets pass."""

    def __init__(self, app: ASGIApp, check: Check) -> None:
        self._app = app
        self._check = check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        answering = self._app
        if scope["type"] == "http" and scope["path"].startswith(_PROTECTED):
            try:
                await self._check(Request(scope))
            except Problem as problem:
                answering = problem.response()
        await answering(scope, receive, send)


def authenticator(settings: DicomwebSettings, urls: ServiceUrls) -> Check | None:
    """What decides as configured; None lets everybody in."""
    match settings.access:
        case "bearer":
            keys = SigningKeys(settings.jwks_url)
            return Bearer(keys, settings.token_issuer, settings.token_audience)
        case "header":
            return TrustedHeader(urls, settings.user_header)
    return None


class TrustedHeader:
    """A trusted proxy says by a header that it knows the user."""

    def __init__(self, urls: ServiceUrls, header: str) -> None:
        self._urls = urls
        self._header = header

    async def __call__(self, request: Request) -> None:
        """Raise Problem 401."""
        if not self._urls.is_trusted(request):
            raise _refused("Proxy", "Ask by the proxy that signs users in: others are not trusted.")
        if not request.headers.get(self._header, "").strip():
            raise _refused("Proxy", f"The proxy names no user in {self._header}: sign in there.")


class Bearer:
    """A JSON Web Token of one issuer for one audience (RFC 7519)."""

    def __init__(self, keys: SigningKeys, issuer: str, audience: str) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience

    async def __call__(self, request: Request) -> None:
        """Raise Problem 401, or 503 when the issuer's keys can't be had."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise _refused("Bearer", "Send a token: Authorization: Bearer ...")
        try:
            await self._verify(token.strip())
        except jwt.ExpiredSignatureError:
            raise _invalid("The token has expired: get a new one.") from None
        except jwt.InvalidAudienceError:
            raise _invalid(f"The token is not for the audience {self._audience}.") from None
        except jwt.InvalidIssuerError:
            raise _invalid(f"The token is not of the issuer {self._issuer}.") from None
        except jwt.PyJWTError:
            raise _invalid("The token can't be verified: its form or signature is wrong.") from None

    async def _verify(self, token: str) -> None:
        key = await self._keys.key(jwt.get_unverified_header(token).get("kid", ""))
        jwt.decode(
            token,
            key,
            algorithms=_ALGORITHMS,
            audience=self._audience,
            issuer=self._issuer,
            leeway=_LEEWAY,
            options={"require": ["exp", "iss", "aud"]},
        )


def _refused(scheme: str, why: str) -> Problem:
    challenge = {"www-authenticate": f'{scheme} realm="dicomweb"'}
    return Problem(HTTPStatus.UNAUTHORIZED, why, headers=challenge)


def _invalid(why: str) -> Problem:
    told = why.replace('"', "'")
    challenge = f'Bearer realm="dicomweb", error="invalid_token", error_description="{told}"'
    return Problem(HTTPStatus.UNAUTHORIZED, why, headers={"www-authenticate": challenge})
