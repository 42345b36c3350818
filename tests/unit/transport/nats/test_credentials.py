import base64
import json
import time
from typing import Any

import nkeys
import pytest

from dimse_ingestion.transport.nats.credentials import (
    CredentialError,
    Mode,
    parse_credential,
    sign_nonce,
)
from harness.nats_accounts import Key, Operator, user_key

OPERATOR = Operator()
USER = OPERATOR.user()


def foreign_jwt(**claims: Any) -> str:
    parts = ({"alg": "RS256"}, claims)
    coded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts]
    return ".".join((*coded, "c2ln")).replace("=", "")


@pytest.mark.parametrize("key", ["token", "nats.creds"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_creds_file(key: str, line_end: str) -> None:
    credential = parse_credential({key: USER.credentials_file.replace("\n", line_end)})
    assert (credential.jwt, credential.seed) == (USER.jwt, USER.seed)


def test_a_user_jwt_with_its_seed() -> None:
    credential = parse_credential({"token": f" {USER.jwt}\n", "seed": f"{USER.seed}\n"})
    assert (credential.jwt, credential.seed, credential.token) == (USER.jwt, USER.seed, "")


def test_a_bearer_jwt_needs_no_seed() -> None:
    jwt = OPERATOR.user(bearer=True).jwt
    credential = parse_credential({"token": jwt})
    assert (credential.kind, credential.jwt, credential.seed) == ("a bearer JWT", jwt, "")


@pytest.mark.parametrize(
    ("subject", "user"),
    [
        ("system:serviceaccount:imaging:proxy", "proxy"),
        ("someone@example.org", "someone@example.org"),
    ],
)
def test_any_other_jwt_is_a_password_for_the_last_part_of_its_subject(
    subject: str, user: str
) -> None:
    jwt = foreign_jwt(sub=subject, exp=2_000_000_000)
    credential = parse_credential({"token": jwt})
    assert (credential.user, credential.password, credential.expires) == (user, jwt, 2_000_000_000)


def test_an_nkey_seed() -> None:
    key = user_key()
    credential = parse_credential({"token": key.seed})
    assert (credential.seed, credential.jwt) == (key.seed, "")
    assert parse_credential({"seed": key.seed}).seed == key.seed


@pytest.mark.parametrize("token", ["s3cret", "a.b.c", "SUAB", foreign_jwt(aud="nobody")])
def test_all_else_is_a_plain_token(token: str) -> None:
    assert parse_credential({"token": f"{token}\n"}).token == token


def test_a_user_and_a_password_by_their_keys() -> None:
    credential = parse_credential({"user": "u\n", "password": "p\n"})
    assert (credential.user, credential.password) == ("u", "p")


def test_nothing_at_all_is_no_credential() -> None:
    assert parse_credential({}).kind == "no credential"
    assert parse_credential({"token": "ignored"}, "none").token == ""


@pytest.mark.parametrize("mode", ["token", "password"])
def test_the_mode_overrides_the_detection(mode: Mode) -> None:
    jwt = foreign_jwt(sub="a:b")
    credential = parse_credential({"token": jwt}, mode)
    assert (credential.token or credential.password) == jwt
    assert bool(credential.token) == (mode == "token")


@pytest.mark.parametrize(
    ("keys", "mode", "cure"),
    [
        ({"token": " "}, "auto", "put it under the key 'token'"),
        ({"token": USER.jwt}, "auto", "put it under the key 'seed'"),
        ({"token": USER.jwt, "seed": "SUNONSENSE"}, "auto", "58 characters"),
        ({"token": "-----BEGIN NATS USER JWT-----"}, "auto", "no user JWT"),
        ({"token": USER.credentials_file.split("\n\n")[0]}, "auto", "no seed"),
        ({"token": Key(nkeys.PREFIX_BYTE_ACCOUNT).seed}, "auto", "never hand out"),
        ({"token": OPERATOR._account_jwt(), "seed": USER.seed}, "auto", "JWT of an account"),
        ({"token": "plain"}, "password", "'user' and 'password'"),
        ({"token": "plain"}, "nkey", "begins with SU"),
        ({"token": "plain"}, "creds", "nsc generate creds"),
    ],
)
def test_an_unusable_credential_is_refused_with_a_remedy(
    keys: dict[str, str], mode: Mode, cure: str
) -> None:
    with pytest.raises(CredentialError, match=cure):
        parse_credential(keys, mode)


def test_no_secret_is_in_a_repr_or_a_message() -> None:
    for keys in ({"token": USER.credentials_file}, {"token": "s3cret"}, {"token": user_key().seed}):
        credential = parse_credential(keys)
        shown = repr(credential)
        for secret in (credential.jwt, credential.seed, credential.token, credential.password):
            assert not secret or secret not in shown


def test_a_credential_has_its_expiry() -> None:
    assert parse_credential({"token": foreign_jwt(sub="a", exp=time.time() - 1)}).expired
    assert not parse_credential({"token": foreign_jwt(sub="a", exp=time.time() + 60)}).expired
    assert not parse_credential({"token": "plain"}).expired


def test_a_signature_is_verified_by_the_public_key_and_a_bearer_has_none() -> None:
    key = user_key()
    signed = base64.b64decode(sign_nonce(key.seed, "nonce"))
    assert nkeys.from_seed(bytearray(key.seed.encode())).verify(b"nonce", signed)
    assert sign_nonce("", "nonce") == b""
