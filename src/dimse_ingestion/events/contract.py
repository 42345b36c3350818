"""The ImageStoredEvent, and the interface of the sink that accepts it.

The event has the form of the original's `ImageStoredEvent` (CloudEvents 1.0), so that its consumers
still work. It holds no image data: pixels are in the bucket. Queries are in `queries`.
"""

from typing import Protocol

import msgspec

from dimse_ingestion.dicom.elements import Element

IMAGE_STORED = "ImageStoredEvent"


class Image(msgspec.Struct, frozen=True, rename={"transfer_syntax_uid": "transferSyntaxUID"}):
    """The instance: every element of its data set, file meta information left out."""

    transfer_syntax_uid: str
    elements: list[Element]


class Store(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The location of the instance's object.

    `size` and `sha256` are the data set's, header left out; `header_size` is the byte offset of
    the data set in the object.
    """

    provider: str
    bucket_name: str
    object_name: str
    wado_internal_endpoint: str = ""
    wado_external_endpoint: str = ""
    size: int = 0
    sha256: str = ""
    header_size: int = 0


class InstanceOrigin(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The AE that sent the instance, and the proxy that received it.

    `peer_address` is the AE's address as the proxy saw it: it is for operators, and no service
    that modalities or web clients use answers with it. `received_at` is when the proxy had received
    the data set, RFC 3339 in UTC.
    """

    calling_ae_title: str = ""
    called_ae_title: str = ""
    proxy_id: str = ""
    peer_address: str = ""
    received_at: str = ""


class ImageStored(msgspec.Struct, frozen=True, omit_defaults=True):
    """The data of an ImageStoredEvent; without `origin`, no AE sent the instance, or none known."""

    image: Image
    store: Store
    origin: InstanceOrigin | None = None


class ImageStoredEvent(msgspec.Struct, frozen=True, rename="lower", omit_defaults=True):
    """A CloudEvent in structured mode. `id` is UUIDv5(operation id, key): a retry repeats it.

    `time` is RFC 3339 in UTC; `traceparent` is W3C Trace Context's.
    """

    id: str
    source: str
    data: ImageStored
    time: str = ""
    subject: str = ""
    traceparent: str = ""
    type: str = IMAGE_STORED
    specversion: str = "1.0"
    datacontenttype: str = "application/json"


class EventSink(Protocol):
    """Receiver of events: a call that returns means accepted for good (a 2xx, after a commit)."""

    async def accept(self, event: ImageStoredEvent) -> None:
        """Send one event.

        Raises Unavailable when the sink is down, slow or answers 5xx/429; Refused when it refuses
        the event (4xx).
        """

    async def check(self) -> None:
        """Raise Failure with a sentence when the sink can't be reached."""

    async def close(self) -> None:
        """Close all connections."""
