from typing import Any

import httpx2
import jwt
import pytest

from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.dicomweb.middleware import jwks
from dimse_ingestion.dicomweb.middleware.jwks import SigningKeys
from tests.unit.dicomweb.tokens import SigningKey

ONE, TWO = SigningKey("one"), SigningKey("two")


class Issuer(SigningKeys):
    """Keys published without a network; fetches are counted."""

    def __init__(self, *keys: SigningKey) -> None:
        super().__init__("http://issuer.invalid")
        self.published_keys = keys
        self.down = False
        self.fetches = 0

    async def _download(self) -> dict[str, jwt.PyJWK]:
        self.fetches += 1
        if self.down:
            raise httpx2.ConnectError("down")
        return {each.key_id: jwt.PyJWK(each.published()) for each in self.published_keys}


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made: Any = Clock()
    monkeypatch.setattr(jwks, "time", made)
    clock: Clock = made
    return clock


async def test_keys_are_fetched_once(clock: Clock) -> None:
    issuer = Issuer(ONE, TWO)
    for key_id in ("one", "two", "one"):
        assert (await issuer.key(key_id)).key_id == key_id
    assert issuer.fetches == 1


async def test_a_new_key_is_fetched_at_once_but_unknown_ones_not_all_the_time(clock: Clock) -> None:
    issuer = Issuer(ONE)
    await issuer.key("one")
    issuer.published_keys = (ONE, TWO)
    clock.now += 11
    assert (await issuer.key("two")).key_id == "two"
    for _ in range(5):
        with pytest.raises(jwt.InvalidTokenError):
            await issuer.key("three")
    assert issuer.fetches == 2


async def test_the_last_keys_stay_while_the_issuer_is_down(clock: Clock) -> None:
    issuer = Issuer(ONE)
    await issuer.key("one")
    issuer.down = True
    clock.now += 4000
    assert (await issuer.key("one")).key_id == "one"
    issuer.down, issuer.published_keys = False, (TWO,)
    clock.now += 11
    with pytest.raises(jwt.InvalidTokenError):
        await issuer.key("one")


async def test_without_any_key_the_service_is_unavailable(clock: Clock) -> None:
    issuer = Issuer()
    issuer.down = True
    with pytest.raises(Problem, match="DICOMWEB_JWKS_URL") as raised:
        await issuer.key("one")
    assert raised.value.status == 503


async def test_a_token_without_a_key_id_uses_the_only_key(clock: Clock) -> None:
    assert (await Issuer(ONE).key("")).key_id == "one"
    with pytest.raises(jwt.InvalidTokenError):
        await Issuer(ONE, TWO).key("")
