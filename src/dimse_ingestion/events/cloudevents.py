"""Encode and decode an ImageStoredEvent: CloudEvents 1.0 over HTTP, JSON event format.

Events are written in structured mode, and read in binary mode too: a broker between the ingestion
service and the catalogue is free to change it. No I/O happens here.
"""

from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import unquote

import msgspec

from dimse_ingestion.dicom import element_json, raw_validation
from dimse_ingestion.dicom.raw_items import RawElement, encoder
from dimse_ingestion.events import validity
from dimse_ingestion.events.contract import (
    IMAGE_STORED,
    Image,
    ImageStored,
    ImageStoredEvent,
    InstanceOrigin,
    Store,
)

_Decoded = TypeVar("_Decoded")

CONTENT_TYPE = "application/cloudevents+json"

_SPECVERSION = "1.0"
_HEADERS = ("id", "source", "type", "specversion", "time", "subject", "traceparent")

MOST_STRUCTURES = 800_000
"""The most elements and items of a body: more than the event of a data set can have."""
_events = msgspec.json.Decoder(ImageStoredEvent)
_data = msgspec.json.Decoder(ImageStored)
_RAW_FROM = 256 * 1024  # bytes of a body; the elements of a longer one are decoded in slices


class _RawImage(msgspec.Struct, rename={"transfer_syntax_uid": "transferSyntaxUID"}):
    transfer_syntax_uid: str
    elements: list[RawElement]


class _RawData(msgspec.Struct):
    image: _RawImage
    store: Store
    origin: InstanceOrigin | None = None


class _RawEvent(ImageStoredEvent, frozen=True, rename="lower"):
    data: _RawData  # type: ignore[assignment] # replaced as soon as it is decoded


_raw_events = msgspec.json.Decoder(_RawEvent)
_raw_data = msgspec.json.Decoder(_RawData)


class _RequiredAttributes(msgspec.Struct, frozen=True):
    """Attributes that every event must have, so they are written even with their defaults."""

    specversion: str = _SPECVERSION
    type: str = IMAGE_STORED
    datacontenttype: str = "application/json"


def encode(event: ImageStoredEvent) -> bytes:
    """Return the event in structured mode, to be sent as CONTENT_TYPE."""
    required = _RequiredAttributes(event.specversion, event.type, event.datacontenttype)
    return encoder.encode(msgspec.structs.asdict(required) | _other_attributes(event))


def decode(headers: Mapping[str, str], body: bytes) -> ImageStoredEvent:
    """Return the event of an HTTP request in structured or binary mode.

    `headers` have lower-case names. Raises ValueError with a sentence, which repeats no value of
    the body, when the request is no such event or the event is invalid.
    """
    structured = headers.get("content-type", "").lower().startswith(CONTENT_TYPE)
    event = _structured(body) if structured else _binary(headers, body)
    if event.specversion != _SPECVERSION or event.type != IMAGE_STORED:
        raise ValueError(f"Only {IMAGE_STORED} of CloudEvents {_SPECVERSION} is accepted.")
    if not event.id or not event.source:
        raise ValueError("A CloudEvent must have an id and a source.")
    validity.check(event)
    return event


def _decode_json(decoder: msgspec.json.Decoder[_Decoded], body: bytes) -> _Decoded:
    try:
        return element_json.decode(decoder, body, MOST_STRUCTURES)
    except ValueError as wrong:
        raise ValueError(f"This is not an {IMAGE_STORED}: {wrong}.") from None


def _structured(body: bytes) -> ImageStoredEvent:
    if len(body) < _RAW_FROM:
        return _decode_json(_events, body)
    raw = _decode_json(_raw_events, body)
    attributes = {name: getattr(raw, name) for name in ImageStoredEvent.__struct_fields__}
    return ImageStoredEvent(**attributes | {"data": _validated(raw.data)})


def _binary_data(body: bytes) -> ImageStored:
    if len(body) < _RAW_FROM:
        return _decode_json(_data, body)
    return _validated(_decode_json(_raw_data, body))


def _validated(raw: _RawData) -> ImageStored:
    try:
        elements = raw_validation.validate(raw.image.elements)
    except ValueError as wrong:
        raise ValueError(f"The event's data set is impossible: {wrong}.") from None
    image = Image(raw.image.transfer_syntax_uid, elements)
    return ImageStored(image, raw.store, raw.origin)


def _other_attributes(event: ImageStoredEvent) -> dict[str, object]:
    optional = {"time": event.time, "subject": event.subject, "traceparent": event.traceparent}
    present = {name: value for name, value in optional.items() if value}
    return {"id": event.id, "source": event.source} | present | {"data": event.data}


def _binary(headers: Mapping[str, str], body: bytes) -> ImageStoredEvent:
    attributes = {name: unquote(headers.get(f"ce-{name}", "")) for name in _HEADERS}
    if not attributes["type"]:
        raise ValueError(f"Send {CONTENT_TYPE}, or the attributes of a CloudEvent as headers.")
    return ImageStoredEvent(data=_binary_data(body), **attributes)
