"""Validation of an ImageStoredEvent: refuse values that no bucket, database or reader can use.

Later answers are made from accepted events, so they are checked before. The catalogue checks the
instance's UIDs itself, because it records the instance by them.
"""

import re

from dimse_ingestion.dicom import element_json, uids
from dimse_ingestion.dicom.raw_items import RawItems
from dimse_ingestion.events.contract import ImageStoredEvent, InstanceOrigin, Store

_LONGEST_KEY = 1024  # bytes of an object's name, as S3 allows
_LONGEST_NAME = 255  # characters of a provider or bucket
_LONGEST_TEXT = 4096  # characters of any other text
_LARGEST_SIZE = 2**63 - 1
_LARGEST_HEADER = 2**31 - 1
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")
_SHA256 = re.compile(r"[0-9a-f]{0,64}")


def check(event: ImageStoredEvent) -> None:
    """Raise ValueError with a sentence, which repeats no value, when the event is invalid."""
    store = event.data.store
    for name, text in {
        "id": event.id,
        "source": event.source,
        "time": event.time,
        "subject": event.subject,
        "traceparent": event.traceparent,
        "wadoInternalEndpoint": store.wado_internal_endpoint,
        "wadoExternalEndpoint": store.wado_external_endpoint,
    }.items():
        _check_text(name, text, _LONGEST_TEXT)
    _check_store(store)
    if event.data.origin is not None:
        _check_origin(event.data.origin)
    if not uids.is_valid(event.data.image.transfer_syntax_uid.strip(" \0")):
        raise ValueError("The event's transferSyntaxUID is no UID.")
    try:
        # elements of long sequences are validated when they are decoded
        element_json.check(
            each
            for each in event.data.image.elements
            if each.items is None or not isinstance(each.items, RawItems)
        )
    except ValueError as wrong:
        raise ValueError(f"The event's data set is impossible: {wrong}.") from None


def is_possible_key(key: str) -> bool:
    """Return whether `key` is a valid object key in every kind of bucket."""
    if not 0 < len(key.encode()) <= _LONGEST_KEY or _CONTROL_CHARACTERS.search(key):
        return False
    return not any(part in ("", ".", "..") for part in key.split("/"))


def _check_store(store: Store) -> None:
    _check_text("provider", store.provider, _LONGEST_NAME)
    _check_text("bucketName", store.bucket_name, _LONGEST_NAME)
    if not is_possible_key(store.object_name):
        raise ValueError(
            "The event's objectName can't be an object's: 1 to 1024 bytes, no control characters, "
            "no part between slashes empty or dots only."
        )
    if not 0 <= store.size <= _LARGEST_SIZE or not 0 <= store.header_size <= _LARGEST_HEADER:
        raise ValueError("The event's size or headerSize is negative or too large.")
    if not _SHA256.fullmatch(store.sha256):
        raise ValueError("The event's sha256 is not in lower-case hexadecimal.")


def _check_origin(origin: InstanceOrigin) -> None:
    for name, text in {
        "callingAeTitle": origin.calling_ae_title,
        "calledAeTitle": origin.called_ae_title,
        "proxyId": origin.proxy_id,
        "peerAddress": origin.peer_address,
        "receivedAt": origin.received_at,
    }.items():
        _check_text(name, text, _LONGEST_NAME)


def _check_text(name: str, text: str, longest: int) -> None:
    if len(text) > longest or _CONTROL_CHARACTERS.search(text):
        raise ValueError(f"The event's {name} has control characters or more than {longest}.")
