"""A cache of the issuer's JSON Web Key Set (RFC 7517), the public keys that sign tokens.

Keys are cached for an hour. A token signed by an unknown key causes a fetch, so that a rotation is
noticed at once, but at most one in ten seconds, so that clients can't flood the issuer with
requests. When the issuer is down, the last keys stay in use.
"""

import asyncio
import time
from http import HTTPStatus

import httpx2
import jwt

from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.observability.logging import logger

_LOG = logger(__name__)
_MAX_AGE = 3600.0
_MIN_FETCH_INTERVAL = 10.0
_FETCH_TIMEOUT = 5.0
_NEVER = float("-inf")


class SigningKeys:
    """The keys published at `url`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = _NEVER
        self._attempted_at = _NEVER
        self._lock = asyncio.Lock()

    async def key(self, key_id: str) -> jwt.PyJWK:
        """Return the key of this id; for an empty id the only key.

        Raises jwt.InvalidTokenError for an unknown key, Problem 503 if no key was ever fetched.
        """
        if time.monotonic() - self._fetched_at > _MAX_AGE or not self._cached(key_id):
            await self._fetch(key_id)
        if cached := self._cached(key_id):
            return cached
        if not self._keys:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "The keys that sign tokens are not available: check DICOMWEB_JWKS_URL.",
                headers={"retry-after": "10"},
            )
        raise jwt.InvalidTokenError("unknown key")

    def _cached(self, key_id: str) -> jwt.PyJWK | None:
        if not key_id and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    async def _fetch(self, key_id: str) -> None:
        async with self._lock:
            is_fresh = time.monotonic() - self._fetched_at <= _MAX_AGE
            is_recent = time.monotonic() - self._attempted_at < _MIN_FETCH_INTERVAL
            if is_recent or (is_fresh and self._cached(key_id)):
                return
            self._attempted_at = time.monotonic()
            try:
                self._keys = await self._download()
            except (httpx2.HTTPError, jwt.PyJWTError, ValueError, KeyError) as error:
                _LOG.warning("The signing keys could not be fetched.", reason=type(error).__name__)
                return
            self._fetched_at = time.monotonic()

    async def _download(self) -> dict[str, jwt.PyJWK]:
        async with httpx2.AsyncClient(timeout=_FETCH_TIMEOUT, follow_redirects=True) as client:
            response = await client.get(self._url)
        response.raise_for_status()
        published = jwt.PyJWKSet.from_dict(response.json())
        return {each.key_id or "": each for each in published.keys}
