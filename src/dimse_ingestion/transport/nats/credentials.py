"""The NATS credential: its kind is detected from the content of the mounted Secret.

A creds file, a user JWT with its seed, a bearer JWT, any other JWT (Kubernetes, OIDC: sent as user
and password, as the original did), an NKey seed, or else a plain token. This module reads no file
and opens no connection: at each connect it is given the current keys of the Secret.
"""

import base64
import binascii
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import nkeys

Mode = Literal["auto", "none", "token", "creds", "jwt-seed", "bearer", "password", "nkey"]

_CREDS_JWT = re.compile(r"BEGIN NATS USER JWT-+\s+(\S+)\s+-+END")
_CREDS_SEED = re.compile(r"BEGIN USER NKEY SEED-+\s+(\S+)\s+-+END")
_SEED = re.compile(r"S[A-Z][A-Z2-7]{56}")


class CredentialError(Exception):
    """The credential cannot be used; the text says what to replace it with."""


@dataclass(frozen=True, slots=True)
class Credential:
    """The authentication fields of the CONNECT; only those of its kind are set."""

    kind: str
    """The detected kind, in the words of an operator."""
    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    jwt: str = field(default="", repr=False)
    seed: str = field(default="", repr=False)
    expires: float | None = None
    """The expiry that the credential contains, in seconds since 1970."""

    @property
    def expired(self) -> bool:
        """Return whether the credential contains an expiry that has passed."""
        return self.expires is not None and self.expires <= time.time()


def parse_credential(keys: Mapping[str, str], mode: Mode = "auto") -> Credential:
    """Parse the `keys` of a Secret (`token` or `nats.creds`, `seed`, `user`, `password`).

    `mode` overrides the detection. Raises CredentialError, which says what to do.
    """
    if mode == "none" or not keys:
        return Credential("no credential")
    if mode == "password" or (mode == "auto" and "user" in keys):
        return _password(keys)
    content = _content(keys)
    if mode == "auto":
        mode = _detect_mode(content)
    return _PARSERS[mode](content, keys.get("seed", "").strip())


def sign_nonce(seed: str, nonce: str) -> bytes:
    """Sign the server's nonce, in base64; return nothing for a bearer JWT without a seed."""
    if not seed:
        return b""
    return base64.b64encode(nkeys.from_seed(bytearray(seed.encode())).sign(nonce.encode()))


def _content(keys: Mapping[str, str]) -> str:
    for name in ("token", "nats.creds", "seed"):
        if content := keys.get(name, "").strip():
            return content
    raise CredentialError(
        "The NATS credential is empty: put it under the key 'token' (or 'nats.creds') of its "
        "Secret."
    )


def _detect_mode(content: str) -> Mode:
    if "BEGIN NATS USER JWT" in content:
        return "creds"
    if _SEED.fullmatch(content):
        return "nkey"
    claims = _claims(content)
    if "nats" in claims:
        return "bearer" if _is_bearer(claims) else "jwt-seed"
    return "password" if claims.get("sub") else "token"


def _from_creds(content: str, _: str) -> Credential:
    jwt, seed = _CREDS_JWT.search(content), _CREDS_SEED.search(content)
    if not jwt:
        raise CredentialError(
            "The NATS creds file has no user JWT: write it anew with 'nsc generate creds'."
        )
    if not seed and _is_bearer(_claims(jwt[1])):
        return _from_bearer(jwt[1], "")
    if not seed:
        raise CredentialError(
            "The NATS creds file has no seed: write it anew with 'nsc generate creds'."
        )
    return _user_credential("a creds file", jwt[1], _user_seed(seed[1]))


def _from_jwt_and_seed(content: str, seed: str) -> Credential:
    if not seed:
        raise CredentialError(
            "A NATS user JWT needs its seed: put it under the key 'seed' of the same Secret, or "
            "put in the creds file, or have the JWT issued as a bearer token."
        )
    return _user_credential("a user JWT and its seed", content, _user_seed(seed))


def _from_bearer(content: str, seed: str) -> Credential:
    return _user_credential("a bearer JWT", content, _user_seed(seed) if seed else "")


def _from_seed(content: str, _: str) -> Credential:
    return Credential("an NKey seed", seed=_user_seed(content))


def _from_token(content: str, _: str) -> Credential:
    return Credential("a plain token", token=content)


def _from_foreign_jwt(content: str, _: str) -> Credential:
    """Use a JWT that NATS did not issue as the password, for the server or its auth callout."""
    claims = _claims(content)
    user = str(claims.get("sub", "")).rpartition(":")[2]
    if not user:
        raise CredentialError(
            "The NATS credential is to be a user and a password, but it is no JWT with a 'sub': "
            "give the keys 'user' and 'password', or another auth mode."
        )
    return Credential("a JWT as password", user=user, password=content, expires=_expiry(claims))


def _password(keys: Mapping[str, str]) -> Credential:
    if user := keys.get("user", "").strip():
        return Credential(
            "a user and a password", user=user, password=keys.get("password", "").strip()
        )
    return _from_foreign_jwt(_content(keys), "")


_PARSERS = {
    "creds": _from_creds,
    "jwt-seed": _from_jwt_and_seed,
    "bearer": _from_bearer,
    "nkey": _from_seed,
    "password": _from_foreign_jwt,
    "token": _from_token,
}


def _user_credential(kind: str, jwt: str, seed: str) -> Credential:
    claims = _claims(jwt)
    role = _nats_claims(claims).get("type", "user")
    if role != "user":
        raise CredentialError(
            f"The NATS credential is the JWT of an {role}, and a user's is needed: "
            "'nsc add user', then 'nsc generate creds'."
        )
    return Credential(kind, jwt=jwt, seed=seed, expires=_expiry(claims))


def _user_seed(seed: str) -> str:
    try:
        prefix, _ = nkeys.decode_seed(seed.encode())
    except (nkeys.NkeysError, ValueError, IndexError):
        raise CredentialError(
            "The NATS seed can't be read: a user's seed is 58 characters and begins with SU."
        ) from None
    if prefix != nkeys.PREFIX_BYTE_USER:
        raise CredentialError(
            f"The NATS seed is not a user's (it begins with {seed[:2]}, not SU): never hand out "
            "the seed of an account or an operator."
        )
    return seed


def _claims(text: str) -> dict[str, Any]:
    """Return the claims of a JWT, unverified (the server verifies); empty for other text."""
    parts = text.split(".")
    if len(parts) != 3 or not isinstance(_json(parts[0]), dict):
        return {}
    claims = _json(parts[1])
    return claims if isinstance(claims, dict) else {}


def _json(part: str) -> object:
    try:
        return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, ValueError):
        return None


def _nats_claims(claims: Mapping[str, Any]) -> Mapping[str, Any]:
    part = claims.get("nats")
    return part if isinstance(part, dict) else {}


def _is_bearer(claims: Mapping[str, Any]) -> bool:
    return bool(_nats_claims(claims).get("bearer_token"))


def _expiry(claims: Mapping[str, Any]) -> float | None:
    expires = claims.get("exp")
    return float(expires) if isinstance(expires, int | float) and expires > 0 else None
