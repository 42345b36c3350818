"""What the server lets our user do: asked at start, remembered when it says no.

A denied publish raises nothing at the publisher, so it is asked for on subjects nobody listens
to. Sends nothing itself.
"""

import time

from dimse_ingestion.transport.nats.connection import Denial

_UNUSED_PART = "permission-check"


def check_subject(permission: str) -> tuple[str, str]:
    """A literal subject, and a queue, that stand for a permission as `Permissions` writes it.

    No part listens to it, so that asking takes no message from anyone.
    """
    pattern, _, queue = permission.partition(" ")
    tokens = (_UNUSED_PART if token in ("*", ">") else token for token in pattern.split("."))
    return ".".join(tokens), queue


class Denials:
    """What was denied and not yet found allowed again."""

    def __init__(self) -> None:
        self._last_denied: dict[Denial, float] = {}

    def add(self, denial: Denial) -> bool:
        """Remember; whether it is news."""
        is_new = denial not in self._last_denied
        self._last_denied[denial] = time.monotonic()
        return is_new

    def forget(self, seconds: float = 0.0) -> None:
        """Forget what was last denied longer ago than that."""
        oldest = time.monotonic() - seconds
        self._last_denied = {
            denial: seen for denial, seen in self._last_denied.items() if seen > oldest
        }

    def is_subscription_denied(self, subject: str) -> bool:
        """Whether this subscription was denied."""
        return Denial(publish=False, subject=subject) in self._last_denied

    @property
    def all(self) -> tuple[Denial, ...]:
        """In the order they came."""
        return tuple(self._last_denied)

    @property
    def sentence(self) -> str:
        """For an operator; empty when nothing was denied."""
        if not self._last_denied:
            return ""
        first, *others = self._last_denied
        more = f" (and {len(others)} more)" if others else ""
        return f"NATS denies us a subject: {first}{more}. Allow it in the user's permissions."
