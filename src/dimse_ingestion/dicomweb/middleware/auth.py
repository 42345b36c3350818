"""Authentication: none, a bearer token, or a user name from a trusted proxy.

It protects all DICOMweb services. The files of the page have no patient data and are public. A
refusal is 401 with WWW-Authenticate (RFC 6750). `jwks` fetches the keys that sign tokens.
"""

from http import HTTPStatus
from typing import Protocol

import jwt
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from dimse_ingestion.dicomweb.audit import note_user
from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.dicomweb.http.urls import ServiceUrls
from dimse_ingestion.dicomweb.middleware.jwks import SigningKeys
from dimse_ingestion.settings import DicomwebSettings

_LEEWAY = 30  # seconds by which clocks may differ
_ALGORITHMS = [
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
]
"""Only asymmetric algorithms: a signature made with the published key must not be valid."""
_USER_CLAIMS = ("preferred_username", "sub")
"""The claims that name the user, the more readable one first (OpenID Connect Core 5.1)."""
_PROTECTED = ("/dicomweb", "/wado")


class Authenticator(Protocol):
    """Authenticates one request."""

    async def __call__(self, request: Request) -> str:
        """Return the user's name; raise Problem when the request is not authenticated."""


class AuthMiddleware:
    """Passes requests to `app` that `authenticate` accepts."""

    def __init__(self, app: ASGIApp, authenticate: Authenticator) -> None:
        self._app = app
        self._authenticate = authenticate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        app = self._app
        if scope["type"] == "http" and scope["path"].startswith(_PROTECTED):
            try:
                note_user(scope, await self._authenticate(Request(scope)))
            except Problem as problem:
                app = problem.response()
        await app(scope, receive, send)


def authenticator(settings: DicomwebSettings, urls: ServiceUrls) -> Authenticator | None:
    """Return the configured authenticator; None to allow all requests."""
    match settings.access:
        case "bearer":
            keys = SigningKeys(settings.jwks_url)
            return BearerToken(keys, settings.token_issuer, settings.token_audience)
        case "header":
            return TrustedHeader(urls, settings.user_header)
    return None


class TrustedHeader:
    """Accepts requests with a user name in a header of a trusted proxy."""

    def __init__(self, urls: ServiceUrls, header: str) -> None:
        self._urls = urls
        self._header = header

    async def __call__(self, request: Request) -> str:
        """Return the user's name; raise Problem 401 without a trusted proxy or a user name."""
        if not self._urls.is_trusted(request):
            raise _refused(
                "Proxy", "Use the proxy that signs users in: other clients are not trusted."
            )
        user = request.headers.get(self._header, "").strip()
        if not user:
            raise _refused(
                "Proxy", f"The proxy gave no user in {self._header}: sign in at the proxy."
            )
        return user


class BearerToken:
    """Accepts JSON Web Tokens of one issuer for one audience (RFC 7519)."""

    def __init__(self, keys: SigningKeys, issuer: str, audience: str) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience

    async def __call__(self, request: Request) -> str:
        """Return the token's subject; raise Problem 401, or 503 without the issuer's keys."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise _refused("Bearer", "Send a token: Authorization: Bearer ...")
        try:
            return await self._verify(token.strip())
        except jwt.ExpiredSignatureError:
            raise _invalid("The token has expired: get a new one.") from None
        except jwt.InvalidAudienceError:
            raise _invalid(f"The token is not for the audience {self._audience}.") from None
        except jwt.InvalidIssuerError:
            raise _invalid(f"The token is not from the issuer {self._issuer}.") from None
        except jwt.PyJWTError:
            raise _invalid("The token can't be verified: its form or signature is wrong.") from None

    async def _verify(self, token: str) -> str:
        key = await self._keys.key(jwt.get_unverified_header(token).get("kid", ""))
        claims = jwt.decode(
            token,
            key,
            algorithms=_ALGORITHMS,
            audience=self._audience,
            issuer=self._issuer,
            leeway=_LEEWAY,
            options={"require": ["exp", "iss", "aud"]},
        )
        return next((str(claims[name]) for name in _USER_CLAIMS if claims.get(name)), "")


def _refused(scheme: str, reason: str) -> Problem:
    challenge = {"www-authenticate": f'{scheme} realm="dicomweb"'}
    return Problem(HTTPStatus.UNAUTHORIZED, reason, headers=challenge)


def _invalid(reason: str) -> Problem:
    description = reason.replace('"', "'")
    challenge = f'Bearer realm="dicomweb", error="invalid_token", error_description="{description}"'
    return Problem(HTTPStatus.UNAUTHORIZED, reason, headers={"www-authenticate": challenge})
