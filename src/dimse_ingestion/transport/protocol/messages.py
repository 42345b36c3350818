"""The requests and results that the control messages of transport v1 carry.

Each is a msgpack map whose unknown keys are ignored, so that either side may be newer. The data
set itself travels as raw bytes in DATA (see `codec`). A DIMSE status is its number.
"""

import msgspec

MOST_REFERENCES = 100
"""The most references of one commitment check: an open with them fits any maximum payload."""
MOST_OBJECTS = 32
"""The most objects of one fetch that a replica accepts; a proxy requests fewer."""


class Origin(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Identify the requesting AE as the proxy saw it; no field names a patient.

    `proxy_id` is the proxy's, and `received_at` when it had received the data set, RFC 3339 in UTC;
    proxies of former releases send neither.
    """

    calling_ae_title: str
    called_ae_title: str
    peer_address: str = ""
    implementation_class_uid: str = ""
    implementation_version_name: str = ""
    association_id: str = ""
    message_id: int = 0
    proxy_id: str = ""
    received_at: str = ""


class StoreOpen(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Announce one C-STORE: everything but the data set.

    `operation_id` is a UUIDv7 as text, the same over all retries. `size` is the data set's length
    in bytes and `sha256` its digest in hexadecimal, both of the bytes exactly as they came in
    P-DATA, in `transfer_syntax_uid`.
    """

    operation_id: str
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    size: int
    sha256: str
    origin: Origin
    move_originator_ae_title: str = ""
    move_originator_message_id: int = 0


class StoreResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Report how a C-STORE ended; `status` 0: durable in the bucket and its event accepted.

    `transient`: a retry may help; the proxy retries within its budget.
    """

    status: int
    comment: str = ""
    transient: bool = False
    key: str = ""
    size: int = 0
    sha256: str = ""
    duplicate: bool = False
    event: str = ""


class FindOpen(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Announce one C-FIND, its identifier as it came in P-DATA (a data set without group 2).

    `retrievable`: this proxy would serve a C-MOVE or C-GET of the requesting AE.
    """

    operation_id: str
    sop_class_uid: str
    transfer_syntax_uid: str
    identifier: bytes
    origin: Origin
    relational: bool = False
    combined_date_time: bool = False
    retrievable: bool = False


class FindMatch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Carry one match: its identifier in the transfer syntax of the open, and FF00 or FF01."""

    status: int
    identifier: bytes


class FindResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Report how a C-FIND ended: 0000, FE00, or a failure with its comment; `matches` were sent."""

    status: int
    comment: str = ""
    matches: int = 0


class RetrieveOpen(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Request the list of the instances that the identifier of a C-MOVE or C-GET names.

    With more than `maximum` instances the result is A701, and the list is incomplete.
    """

    operation_id: str
    sop_class_uid: str
    transfer_syntax_uid: str
    identifier: bytes
    origin: Origin
    relational: bool = False
    maximum: int = 65_535


class RetrieveInstance(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Identify one instance to retrieve; `size` and `sha256` are those of its stored data set."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    key: str
    size: int
    sha256: str


class RetrieveResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Report how the list of instances ended: 0000, or a failure with its comment."""

    status: int
    comment: str = ""
    instances: int = 0


class FetchObject(msgspec.Struct, frozen=True, array_like=True):
    """Name one more object of a batch; the fields are those of its `RetrieveInstance`."""

    key: str
    size: int
    sha256: str


class FetchOpen(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Request the data set of one stored object from byte `offset` on.

    `key`, `size` and `sha256` are those of a `RetrieveInstance`; `transfer_syntax_uid` is the one
    in which the data set is wanted. The offset counts the bytes of the data set as it is sent.
    `more` are the objects of a batch that follow the first one, each as it is stored; services of
    former releases ignore them.
    """

    operation_id: str
    key: str
    size: int
    sha256: str
    transfer_syntax_uid: str
    origin: Origin
    offset: int = 0
    more: tuple[FetchObject, ...] = ()


class FetchResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Report the end of a data set: size and digest of the whole as sent, or a failure.

    Of a batch, `size` is that of all data sets sent and `objects` their number, which may be less
    than requested; a failure concerns the first one. Services of former releases send no `objects`.
    """

    status: int
    comment: str = ""
    transient: bool = False
    size: int = 0
    sha256: str = ""
    objects: int = 0


class EchoRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Request a C-ECHO of the ingestion service and of the services behind it."""

    operation_id: str
    origin: Origin


class EchoResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Report the replica's checks: `status` 0 only if bucket, event sink and catalogue answered.

    `bucket`, `event_sink` and `catalogue` are empty when healthy, else describe the error.
    """

    status: int
    comment: str = ""
    replica: str = ""
    version: str = ""
    bucket: str = ""
    event_sink: str = ""
    catalogue: str = ""


class Reference(msgspec.Struct, frozen=True, array_like=True):
    """Name an instance whose safekeeping is to be confirmed (PS3.4 table J.3-1)."""

    sop_class_uid: str
    sop_instance_uid: str


class CommitOpen(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Request a check of at most MOST_REFERENCES references of a storage commitment.

    `reads_objects`: each object is read whole and its digest compared, not its size alone.
    """

    operation_id: str
    references: tuple[Reference, ...]
    origin: Origin
    reads_objects: bool = False


class CommitResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Report a check: with `status` 0 `reasons` has a Failure Reason for each reference, in order.

    A reason is 0 for an instance that is stored (PS3.3 C.14.1.1). Another status says that nothing
    could be found out, because a backend failed.
    """

    status: int
    comment: str = ""
    reasons: tuple[int, ...] = ()
