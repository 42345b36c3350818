"""The public keys that sign tokens, as the issuer publishes them (RFC 7517), fetched when needed.

Kept for an hour; a token signed by a key that isn't known has them fetched again, so that a
rotation is seen at once, but not more often than every ten seconds, so that nobody can have us
hammer the issuer. When it is down, the keys last seen stay in use.
"""

import asyncio
import time
from http import HTTPStatus

import httpx2
import jwt

from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.observability.logging import logger

_LOG = logger(__name__)
_KEPT_FOR = 3600.0
_NOT_SOONER_THAN = 10.0
_LONGEST_FETCH = 5.0
_NEVER = float("-inf")


class SigningKeys:
    """The keys at `url`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = _NEVER
        self._tried_at = _NEVER
        self._fetching = asyncio.Lock()

    async def key(self, key_id: str) -> jwt.PyJWK:
        """The key of this id; the only one there is for an empty id.

        Raises jwt.InvalidTokenError when there is none, and Problem 503 when no key was ever had.
        """
        if time.monotonic() - self._fetched_at > _KEPT_FOR or not self._found(key_id):
            await self._fetch(key_id)
        if found := self._found(key_id):
            return found
        if not self._keys:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "The keys that sign tokens can't be had: see DICOMWEB_JWKS_URL.",
                headers={"retry-after": "10"},
            )
        raise jwt.InvalidTokenError("unknown key")

    def _found(self, key_id: str) -> jwt.PyJWK | None:
        if not key_id and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    async def _fetch(self, key_id: str) -> None:
        async with self._fetching:
            fresh = time.monotonic() - self._fetched_at <= _KEPT_FOR
            recently = time.monotonic() - self._tried_at < _NOT_SOONER_THAN
            if recently or (fresh and self._found(key_id)):
                return
            self._tried_at = time.monotonic()
            try:
                self._keys = await self._published()
            except (httpx2.HTTPError, jwt.PyJWTError, ValueError, KeyError) as error:
                _LOG.warning("The signing keys were not fetched.", because=type(error).__name__)
                return
            self._fetched_at = time.monotonic()

    async def _published(self) -> dict[str, jwt.PyJWK]:
        async with httpx2.AsyncClient(timeout=_LONGEST_FETCH, follow_redirects=True) as client:
            answer = await client.get(self._url)
        answer.raise_for_status()
        published = jwt.PyJWKSet.from_dict(answer.json())
        return {each.key_id or "": each for each in published.keys}
