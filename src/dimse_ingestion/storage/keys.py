"""Keys of instances in the bucket, derived from the digest of the data set.

`instances/{first two of sha256}/{sha256}-{transfer syntax UID}/{SOP Instance UID}.dcm`: different
bytes under the same SOP Instance UID get another key, the same bytes the same one. The digest is
that of the data set exactly as received, without preamble and group 2. UIDs are input from outside,
so they are validated before they become part of a key. Digest and transfer syntax share a part of
the path: in a folder as a bucket, and in MinIO, each part is a directory that must be created and
synced for each object.
"""

import re
from dataclasses import dataclass

INSTANCES = "instances/"
"""The prefix of the key of every stored instance."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_UID = re.compile(r"(?=.*[0-9])[0-9.]{1,64}")  # PS3.5 9.1, leading zeros tolerated
_KEY = re.compile(
    r"instances/(?P<first>[0-9a-f]{2})/(?P<sha256>(?P=first)[0-9a-f]{62})"
    r"-(?P<transfer_syntax_uid>[0-9.]{1,64})/(?P<sop_instance_uid>[0-9.]{1,64})\.dcm"
)


@dataclass(frozen=True, slots=True)
class InstanceKey:
    """The parts of an instance's key."""

    sha256: str
    transfer_syntax_uid: str
    sop_instance_uid: str

    def __str__(self) -> str:
        return instance_key(self.sha256, self.transfer_syntax_uid, self.sop_instance_uid)


def instance_key(sha256: str, transfer_syntax_uid: str, sop_instance_uid: str) -> str:
    """Return the key of an instance; `sha256` in lower-case hexadecimal.

    Raises ValueError when a part is invalid.
    """
    if not _SHA256.fullmatch(sha256):
        raise ValueError("The digest is not a SHA-256 in lower-case hexadecimal.")
    for uid in (transfer_syntax_uid, sop_instance_uid):
        if not _UID.fullmatch(uid):
            raise ValueError("A UID must have 1 to 64 characters, digits and dots only.")
    return f"{INSTANCES}{sha256[:2]}/{sha256}-{transfer_syntax_uid}/{sop_instance_uid}.dcm"


def parse_key(key: str) -> InstanceKey | None:
    """Return the parts of `key`, or None when it is not the key of an instance."""
    if not (match := _KEY.fullmatch(key)):
        return None
    return InstanceKey(match["sha256"], match["transfer_syntax_uid"], match["sop_instance_uid"])
