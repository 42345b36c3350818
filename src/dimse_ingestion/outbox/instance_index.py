"""The index of the instances that wait in an outbox, in memory, by SOP Instance UID.

It holds a fingerprint of each UID. That an instance waits may be wrong, with a probability of
10^-13 among 100,000; that it does not wait is right, as long as the index is complete.
"""

from hashlib import blake2b

UNKNOWN = 0
"""The fingerprint of a data set whose instance is not known."""
FINGERPRINT_LENGTH = 8  # bytes
_MOST = 1_000_000
_UNUSED_BITS = 4  # a Python integer of 60 bits takes 4 bytes less than one of 64


def fingerprint(sop_instance_uid: str) -> int:
    """Return the fingerprint of a UID: the same in each process; `UNKNOWN` of an empty one."""
    if not sop_instance_uid:
        return UNKNOWN
    digest = blake2b(sop_instance_uid.encode(), digest_size=FINGERPRINT_LENGTH).digest()
    return int.from_bytes(digest) >> _UNUSED_BITS


class InstanceIndex:
    """The fingerprints of what waits, at most `most` different ones."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._counts: dict[int, int] = {}
        self._left_out = 0

    def __contains__(self, fingerprint: int) -> bool:
        """Return whether an instance with this fingerprint waits."""
        return fingerprint in self._counts

    def __len__(self) -> int:
        return len(self._counts)

    @property
    def is_complete(self) -> bool:
        """Return whether no data set waits that is left out of the index."""
        return not self._left_out

    def add(self, fingerprint: int) -> int:
        """Add one data set; return its fingerprint, or `UNKNOWN` if it is left out."""
        count = self._counts.get(fingerprint, 0)
        if fingerprint == UNKNOWN or (not count and len(self._counts) >= self._most):
            self._left_out += 1
            return UNKNOWN
        self._counts[fingerprint] = count + 1
        return fingerprint

    def remove(self, added: int) -> None:
        """Remove one data set, by what `add` has returned for it."""
        if added == UNKNOWN:
            self._left_out -= 1
        elif self._counts[added] == 1:
            del self._counts[added]
        else:
            self._counts[added] -= 1
