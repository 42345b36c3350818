"""The subjects that the server denies to the user, and the subjects to check permissions with.

A denied publish raises nothing at the publisher, so each permission is checked at start on a
subject without subscribers. This module sends nothing itself.
"""

import time

from dimse_ingestion.transport.nats.connection import Denial

_UNUSED_PART = "permission-check"


def check_subject(permission: str) -> tuple[str, str]:
    """Return a literal subject and a queue that a permission of `Permissions` covers.

    The subject has no subscribers, so that the check takes no message from a service.
    """
    pattern, _, queue = permission.partition(" ")
    tokens = (_UNUSED_PART if token in ("*", ">") else token for token in pattern.split("."))
    return ".".join(tokens), queue


class Denials:
    """The subjects that were denied and have not been permitted since."""

    def __init__(self) -> None:
        self._last_denied: dict[Denial, float] = {}

    def add(self, denial: Denial) -> bool:
        """Record a denial; return whether it is new."""
        is_new = denial not in self._last_denied
        self._last_denied[denial] = time.monotonic()
        return is_new

    def forget(self, seconds: float = 0.0) -> None:
        """Forget denials that were last seen more than `seconds` ago."""
        oldest = time.monotonic() - seconds
        self._last_denied = {
            denial: seen for denial, seen in self._last_denied.items() if seen > oldest
        }

    def is_subscription_denied(self, subject: str) -> bool:
        """Return whether this subscription was denied."""
        return Denial(publish=False, subject=subject) in self._last_denied

    @property
    def all(self) -> tuple[Denial, ...]:
        """Return the denials in the order of their arrival."""
        return tuple(self._last_denied)

    @property
    def sentence(self) -> str:
        """Return the message for an operator; empty when nothing was denied."""
        if not self._last_denied:
            return ""
        first, *others = self._last_denied
        more = f" (and {len(others)} more)" if others else ""
        return f"NATS denies a subject: {first}{more}. Allow it in the user's permissions."
