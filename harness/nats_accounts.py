"""NATS' operator mode, minted here: an operator, one account, and users with their permissions.

A small encoder of NATS JWTs (ed25519-nkey) over the nkeys library; the server checks everything
it makes. For tests and demonstrations: keys live in memory, or where `Operator.saved` is put.
"""

import base64
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import nkeys

_OPERATOR = nkeys.PREFIX_BYTE_OPERATOR
_ACCOUNT = nkeys.PREFIX_BYTE_ACCOUNT
_USER = nkeys.PREFIX_BYTE_USER
_NO_LIMITS = {"subs": -1, "data": -1, "payload": -1}


class Key:
    """An ed25519 key as NATS writes it."""

    def __init__(self, kind: int, seed: str = "") -> None:
        self.seed: str = seed or nkeys.encode_seed(os.urandom(32), kind).decode()
        self.public: str = self._pair().public_key.decode().rstrip("=")

    def sign(self, text: bytes) -> bytes:
        """Sign `text`."""
        return bytes(self._pair().sign(text))

    def _pair(self) -> Any:
        return nkeys.from_seed(bytearray(self.seed.encode()))


def user_key() -> Key:
    """Return a user's key, as nkey authentication without JWT also uses it."""
    return Key(_USER)


@dataclass(frozen=True)
class User:
    """A user's JWT and the seed that goes with it."""

    jwt: str
    seed: str

    @property
    def credentials_file(self) -> str:
        """JWT and seed as `nsc generate creds` writes them."""
        return (
            f"-----BEGIN NATS USER JWT-----\n{self.jwt}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{self.seed}\n------END USER NKEY SEED------\n"
        )


@dataclass
class Operator:
    """An operator with one account; `configuration` is what its servers need."""

    key: Key = field(default_factory=lambda: Key(_OPERATOR))
    account: Key = field(default_factory=lambda: Key(_ACCOUNT))

    @property
    def saved(self) -> dict[str, str]:
        """The seeds, from which `loaded` makes the same operator again."""
        return {"operator.nk": self.key.seed, "account.nk": self.account.seed}

    @classmethod
    def load(cls, saved: Mapping[str, str]) -> "Operator":
        """Return the operator that was saved; KeyError when a seed is missing."""
        return cls(Key(_OPERATOR, saved["operator.nk"]), Key(_ACCOUNT, saved["account.nk"]))

    @property
    def configuration(self) -> dict[str, Any]:
        """The server's operator and account settings."""
        return {
            "operator": _signed(self.key, self.key.public, "operator", {"type": "operator"}),
            "resolver": "MEMORY",
            "resolver_preload": {self.account.public: self._account_jwt()},
        }

    def user(
        self,
        *,
        may_publish: Sequence[str] = (),
        may_subscribe: Sequence[str] = (),
        expires_in: float | None = None,
        bearer: bool = False,
        padding: int = 0,
    ) -> User:
        """Mint a user; a user without permissions may do everything.

        `expires_in` is in seconds; the server looks at whole seconds only.
        """
        key = user_key()
        claims: dict[str, Any] = {
            "type": "user",
            "pub": {"allow": list(may_publish)} if may_publish else {},
            "sub": {"allow": list(may_subscribe)} if may_subscribe else {},
            **_NO_LIMITS,
            "bearer_token": bearer,
            "tags": ["x" * padding] if padding else [],
        }
        expiry = None if expires_in is None else int(time.time() + expires_in + 0.5)
        return User(_signed(self.account, key.public, "user", claims, expiry), key.seed)

    def _account_jwt(self) -> str:
        limits = {
            **_NO_LIMITS,
            "imports": -1,
            "exports": -1,
            "wildcards": True,
            "conn": -1,
            "leaf": -1,
        }
        claims = {
            "type": "account",
            "limits": limits,
            "default_permissions": {"pub": {}, "sub": {}},
        }
        return _signed(self.key, self.account.public, "account", claims)


def _signed(
    issuer: Key, subject: str, name: str, nats: dict[str, Any], expiry: int | None = None
) -> str:
    claims: dict[str, Any] = {
        "jti": base64.b32encode(os.urandom(32)).decode().rstrip("="),
        "iat": int(time.time()),
        "iss": issuer.public,
        "name": name,
        "sub": subject,
        "nats": {**nats, "version": 2},
    }
    if expiry is not None:
        claims["exp"] = expiry
    text = f"{_part({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{_part(claims)}"
    return f"{text}.{_base64url(issuer.sign(text.encode()))}"


def _part(value: dict[str, Any]) -> str:
    return _base64url(json.dumps(value, separators=(",", ":")).encode())


def _base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")
