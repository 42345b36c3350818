"""Tokens, signing keys, and an issuer that publishes the keys."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from tests.http_server import served

ISSUER = "https://issuer.example"
AUDIENCE = "dicomweb"


class SigningKey:
    """A private key and its key id."""

    def __init__(self, key_id: str) -> None:
        self.key_id = key_id
        self.private = ec.generate_private_key(ec.SECP256R1())

    def published(self) -> dict[str, Any]:
        """Return the public key as a JSON Web Key (RFC 7517)."""
        public = jwt.algorithms.ECAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        return public | {"kid": self.key_id, "use": "sig", "alg": "ES256"}


def token(key: SigningKey, seconds: int = 3600, **claims: object) -> str:
    """Return a token signed by `key` that is valid for `seconds`."""
    content = {"iss": ISSUER, "aud": AUDIENCE, "exp": int(time.time()) + seconds, "sub": "jane"}
    return jwt.encode(content | claims, key.private, "ES256", headers={"kid": key.key_id})


@contextmanager
def issuer(keys: list[SigningKey]) -> Iterator[str]:
    """Publish the keys by HTTP; yield their URL."""

    class Published(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"keys": [each.published() for each in keys]}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with served(Published) as address:
        yield f"{address}/keys"
