"""What happened to an instance, as told to the catalogue, and who takes it.

The event is the original's `ImageStoredEvent` (CloudEvents 1.0), so that its consumers still work.
It asks nothing (see `queries`) and holds no image data: pixels stand in the bucket.
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
    """Where the instance stands.

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


class ImageStored(msgspec.Struct, frozen=True):
    """The data of an ImageStoredEvent."""

    image: Image
    store: Store


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
    """Who accepts events: returning means accepted for good (a 2xx, after a commit)."""

    async def accept(self, event: ImageStoredEvent) -> None:
        """Hand over one event.

        Raises DimseFailure: transient A700 when the sink is down, slow or answers 5xx/429; 0110
        when it refuses the event (4xx).
        """

    async def check(self) -> None:
        """Raise DimseFailure with a sentence when the sink can't be reached."""

    async def close(self) -> None:
        """Let go of connections."""
