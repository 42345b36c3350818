"""The opens that a replica takes: their services, their requests, and which of them are valid."""

import re

from dimse_ingestion.transport.protocol.codec import (
    MAXIMUM_INLINE,
    Message,
    OpenCommit,
    OpenEcho,
    OpenFetch,
    OpenFind,
    OpenRetrieve,
    OpenStore,
)
from dimse_ingestion.transport.protocol.compression import CompressedPiece
from dimse_ingestion.transport.protocol.fetch_batch import is_batchable
from dimse_ingestion.transport.protocol.messages import (
    MOST_OBJECTS,
    MOST_REFERENCES,
    CommitOpen,
    FetchOpen,
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
    if isinstance(opening, OpenStore):
        return named and _is_valid_store(opening)
    if isinstance(request, CommitOpen):
        return named and len(request.references) <= MOST_REFERENCES
    if isinstance(opening, OpenFetch):
        return named and _is_valid_fetch(opening.open, opening.limit)
    return named


def _is_valid_store(opening: OpenStore) -> bool:
    open_, frame = opening.open, opening.inline_zstd
    if frame is not None and not len(frame) < open_.size <= MAXIMUM_INLINE:
        return False
    return open_.size >= 0 and bool(_DIGEST.fullmatch(open_.sha256))


def inline_of(opening: OpenStore) -> bytes | CompressedPiece | None:
    """Return the data set that came with its open, or None."""
    if opening.inline_zstd is not None:
        return CompressedPiece(opening.inline_zstd, opening.open.size)
    return opening.inline


def _is_valid_fetch(open_: FetchOpen, limit: int) -> bool:
    if open_.more and not _is_valid_batch(open_):
        return False
    return bool(_DIGEST.fullmatch(open_.sha256)) and open_.size >= 0 and 0 <= open_.offset <= limit


def _is_valid_batch(open_: FetchOpen) -> bool:
    """Return whether a batch has at most MOST_OBJECTS short data sets, from the first byte on."""
    if open_.offset or len(open_.more) >= MOST_OBJECTS or not is_batchable(open_.size):
        return False
    return all(is_batchable(each.size) and _DIGEST.fullmatch(each.sha256) for each in open_.more)
