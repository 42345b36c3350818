"""The NATS subjects of transport v1, and the permissions of each user on them.

No other module builds a subject. The permission table is what an operator grants to each user,
what the NATS client checks at start, and what `memory` enforces in tests, so that the three
cannot differ.
"""

import re
import secrets
from dataclasses import dataclass

_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SESSION_BITS = 96
QUEUE = "svc"
"""The queue group of all replicas: each open is delivered to one of them."""
SERVICES = ("echo", "store", "find", "commit", "retrieve", "fetch")


def validate_token(token: str, what: str) -> str:
    """Return the token if it is valid between the dots of a subject.

    Raises ValueError otherwise, with a message for an operator.
    """
    if not _TOKEN.fullmatch(token):
        raise ValueError(
            f"The {what} {token!r} can't stand in a subject: use 1 to 64 letters, digits, "
            "hyphens and underscores."
        )
    return token


def validate_root(root: str) -> str:
    """Return the subject root if it is one or more tokens joined by dots; else raise ValueError."""
    for token in root.split("."):
        validate_token(token, "part of the subject root")
    return root


def new_session() -> str:
    """Return a random name for a session or an inbox that nobody can guess."""
    return secrets.token_hex(_SESSION_BITS // 8)


def last_token(subject: str) -> str:
    """Return the last token of a subject: the name of the session or inbox."""
    return subject.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Subjects:
    """Build the subjects below one storage space's root. Raises ValueError for an invalid root."""

    root: str

    def __post_init__(self) -> None:
        validate_root(self.root)

    def service(self, service: str) -> str:
        """Return the subject for opens of one of SERVICES."""
        return f"{self.root}.v1.svc.{service}"

    def replica(self, replica: str) -> str:
        """Return the wildcard for every session of one replica."""
        return f"{self.root}.v1.in.{validate_token(replica, 'replica id')}.>"

    def session(self, replica: str, session: str) -> str:
        """Return the subject of one session at a replica."""
        return f"{self.root}.v1.in.{validate_token(replica, 'replica id')}.{session}"

    def inboxes(self, proxy: str, process: str = "") -> str:
        """Return the wildcard for every inbox of one proxy, or of one of its processes."""
        return ".".join(filter(None, (self.inbox_prefix(proxy), process, ">")))

    def inbox(self, proxy: str, session: str, process: str = "") -> str:
        """Return the inbox that receives the answers to one attempt."""
        return ".".join(filter(None, (self.inbox_prefix(proxy), process, session)))

    def inbox_prefix(self, proxy: str) -> str:
        """Return the common prefix of all inboxes of one proxy."""
        return f"{self.root}._INBOX.{validate_token(proxy, 'proxy id')}"

    def is_inbox(self, subject: str) -> bool:
        """Return whether this is an inbox of some proxy, or of one of its processes.

        A replica answers to no other subject: the sender chooses the reply subject, and one that
        the replica may not publish to would look like a missing permission of the replica.
        """
        return _has_tokens_below(f"{self.root}._INBOX.", subject, (2, 3))

    def is_session(self, subject: str) -> bool:
        """Return whether this is a session of some replica; a proxy sends to no other subject."""
        return _has_tokens_below(f"{self.root}.v1.in.", subject, (2,))


@dataclass(frozen=True, slots=True)
class Permissions:
    """List what a user may do; a subscription with a queue group is written `subject queue`."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]

    def may_publish(self, subject: str) -> bool:
        """Return whether a message may be published to this subject."""
        return any(matches(pattern, subject) for pattern in self.publish)

    def may_subscribe(self, subject: str, queue: str = "") -> bool:
        """Return whether this subscription is permitted."""
        return any(_credit_pool(each, subject, queue) for each in self.subscribe)


def proxy_permissions(root: str, proxy: str) -> Permissions:
    """Return the permissions of one proxy's user."""
    root, proxy = validate_root(root), validate_token(proxy, "proxy id")
    return Permissions(
        publish=(f"{root}.v1.svc.*", f"{root}.v1.in.>"),
        subscribe=(f"{root}._INBOX.{proxy}.>",),
    )


def ingestion_permissions(root: str) -> Permissions:
    """Return the permissions of the ingestion service's user, which its replicas share."""
    root = validate_root(root)
    return Permissions(
        publish=(f"{root}._INBOX.>",),
        subscribe=(f"{root}.v1.svc.* {QUEUE}", f"{root}.v1.in.>"),
    )


def _has_tokens_below(prefix: str, subject: str, numbers: tuple[int, ...]) -> bool:
    tokens = subject.removeprefix(prefix).split(".")
    if not subject.startswith(prefix) or len(tokens) not in numbers:
        return False
    return all(map(_TOKEN.fullmatch, tokens))


def matches(pattern: str, subject: str) -> bool:
    """Return whether a pattern with `*` and a last `>` covers a subject or a narrower pattern."""
    wanted, given = pattern.split("."), subject.split(".")
    for index, part in enumerate(wanted):
        if part == ">":
            return len(given) > index
        if index >= len(given) or given[index] == ">" or part not in ("*", given[index]):
            return False
    return len(wanted) == len(given)


def _credit_pool(grant: str, subject: str, queue: str) -> bool:
    pattern, _, granted_queue = grant.partition(" ")
    return matches(pattern, subject) and (not granted_queue or granted_queue == queue)
