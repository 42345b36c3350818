"""The opens that a replica takes: their services, their requests, and which of them are valid."""

import re

from dimse_ingestion.transport.protocol.codec import (
    Message,
    OpenCommit,
    OpenEcho,
    OpenFetch,
    OpenFind,
    OpenRetrieve,
    OpenStore,
)
from dimse_ingestion.transport.protocol.messages import (
    MOST_REFERENCES,
    CommitOpen,
    FetchOpen,
    StoreOpen,
)
from dimse_ingestion.transport.server.result_cache import Request

_LONGEST_OPERATION_ID = 64
_DIGEST = re.compile(r"[0-9a-f]{64}")
Opening = OpenEcho | OpenStore | OpenFind | OpenCommit | OpenRetrieve | OpenFetch
_SERVICES: dict[type[Message], str] = {
    OpenEcho: "echo",
    OpenStore: "store",
    OpenFind: "find",
    OpenCommit: "commit",
    OpenRetrieve: "retrieve",
    OpenFetch: "fetch",
}


def request_of(opening: Opening) -> Request:
    """Return the request that an open contains."""
    return opening.request if isinstance(opening, OpenEcho) else opening.open


def service_of(opening: Opening) -> str:
    """Return the name of the service that an open requests."""
    return _SERVICES[type(opening)]


def is_valid(opening: Opening) -> bool:
    """Return whether the fields that are used in logs, sizes and object keys are valid."""
    request = request_of(opening)
    named = 0 < len(request.operation_id) <= _LONGEST_OPERATION_ID
    if isinstance(request, StoreOpen):
        return named and request.size >= 0 and bool(_DIGEST.fullmatch(request.sha256))
    if isinstance(request, CommitOpen):
        return named and len(request.references) <= MOST_REFERENCES
    if isinstance(opening, OpenFetch):
        return named and _is_valid_fetch(opening.open, opening.limit)
    return named


def _is_valid_fetch(open_: FetchOpen, limit: int) -> bool:
    return bool(_DIGEST.fullmatch(open_.sha256)) and open_.size >= 0 and 0 <= open_.offset < limit
