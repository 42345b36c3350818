"""Every subject of transport v1, made from a storage space's root; nobody else joins tokens.

A table of who may publish and subscribe to what stands here too, for those who write permissions
and for the check at start. No connection is known here.
"""

import re
import secrets
from dataclasses import dataclass

_TOKEN = re.compile(r"[A-Za-z0-9_-]+")
_SESSION_BYTES = 12
QUEUE = "svc"
"""The queue group of the ingestion replicas."""


def new_token() -> str:
    """96 random bits: names one session or one inbox."""
    return secrets.token_hex(_SESSION_BYTES)


def checked_token(token: str) -> str:
    """The token; raises ValueError when it can't be one token of a subject."""
    if not _TOKEN.fullmatch(token):
        raise ValueError(f"{token!r} can't be in a subject: use letters, digits, '-' and '_'.")
    return token


@dataclass(frozen=True, slots=True)
class Permissions:
    """What one user needs; `*` and `>` are NATS' wildcards, a queue stands after a blank."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Subjects:
    """The subjects below one root."""

    root: str

    def service(self, verb: str) -> str:
        """Where `verb` (echo, store, find) is asked for."""
        return f"{self.root}.v1.svc.{checked_token(verb)}"

    def session(self, replica: str, session: str) -> str:
        """Where a replica takes what belongs to one of its sessions."""
        return f"{self.root}.v1.in.{checked_token(replica)}.{session}"

    def inbox(self, proxy: str, token: str) -> str:
        """Where a proxy takes the answers of one attempt."""
        return f"{self.root}._INBOX.{checked_token(proxy)}.{token}"

    def proxy_permissions(self, proxy: str) -> Permissions:
        """What the proxy's user needs."""
        r = self.root
        own = (f"{r}._INBOX.{proxy}.>", f"{r}.v1.out.{proxy}.>", f"{r}.v1.px.{proxy}.>")
        return Permissions(
            publish=(f"{r}.v1.svc.*", f"{r}.v1.in.>", f"{r}._SINBOX.>"),
            subscribe=(*own, f"{r}.v1.px.* px"),
        )

    def ingestion_permissions(self) -> Permissions:
        """What the ingestion service's user needs."""
        r = self.root
        return Permissions(
            publish=(f"{r}._INBOX.>", f"{r}.v1.px.>", f"{r}.v1.out.>"),
            subscribe=(f"{r}.v1.svc.* {QUEUE}", f"{r}.v1.in.>", f"{r}._SINBOX.>"),
        )


def last_token(subject: str) -> str:
    """The session or inbox token that a subject ends in."""
    return subject.rpartition(".")[2]
