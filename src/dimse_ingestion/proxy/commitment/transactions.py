"""The records of a storage commitment transaction, as the journal keeps them (PS3.4 J.3).

They hold UIDs and AE titles alone, no other data of a patient. Unknown fields are ignored, so that
an older release can read what a newer one wrote.
"""

import hashlib
from collections.abc import Iterable

import msgspec

from dimse_ingestion.transport.protocol.messages import Reference


class Accepted(msgspec.Struct, frozen=True, kw_only=True, tag="accepted"):
    """A request for storage commitment that was answered with success; times are Unix times.

    `is_duplicate`: its Transaction UID was in use for other references (PS3.3 C.14.1.1, 0131).
    """

    transaction_uid: str
    calling_ae_title: str
    called_ae_title: str
    received_at: float
    references: tuple[Reference, ...]
    is_duplicate: bool = False


class Decided(msgspec.Struct, frozen=True, kw_only=True, tag="decided"):
    """The decision on a request: Failure Reasons by the position of the reference.

    Every other reference is committed.
    """

    decided_at: float
    failures: dict[int, int]


Record = Accepted | Decided


def digest(references: Iterable[Reference]) -> bytes:
    """Return a digest by which two requests are recognized as the same."""
    content = hashlib.sha256()
    for each in references:
        content.update(f"{each.sop_class_uid}={each.sop_instance_uid};".encode())
    return content.digest()
