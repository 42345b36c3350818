"""Encode and decode batches of events (CloudEvents JSON batch format), and their answers.

The answer has a result for each event in the order of the batch, so that one refused event does not
fail the others. That is an addition to CloudEvents: a sink announces it by BATCH_TYPE in the header
Accept-Post of its answer to OPTIONS. How events are gathered is in `batcher`.
"""

from collections.abc import Sequence

import msgspec

from dimse_ingestion.dicom import element_json
from dimse_ingestion.events import cloudevents
from dimse_ingestion.events.contract import ImageStoredEvent

BATCH_TYPE = "application/cloudevents-batch+json"
ACCEPT_POST = f"{cloudevents.CONTENT_TYPE}, {BATCH_TYPE}"
"""The media types that a sink accepts, as value of the header Accept-Post."""
MOST_EVENTS = 1000
"""The most events that a batch may have."""


class EventResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of one event: the HTTP status that it would have got alone, and the reason."""

    status: int
    detail: str = ""


class BatchAnswer(msgspec.Struct, frozen=True):
    """The body of the answer to a batch."""

    results: list[EventResult]


_events = msgspec.json.Decoder(list[msgspec.Raw])
_answers = msgspec.json.Decoder(BatchAnswer)
_encoder = msgspec.json.Encoder()
_STRUCTURED = {"content-type": cloudevents.CONTENT_TYPE}


def encode_batch(events: Sequence[bytes]) -> bytes:
    """Return a batch of events that `cloudevents.encode` has encoded."""
    return b"[" + b",".join(events) + b"]"


def decode_batch(body: bytes) -> list[ImageStoredEvent | ValueError]:
    """Return the events of a batch; for each that is invalid, the ValueError that says why.

    Raises ValueError when the body is no batch.
    """
    try:
        items = element_json.decode(_events, body, cloudevents.MOST_STRUCTURES)
    except ValueError as wrong:
        raise ValueError(f"This is not a batch of events: {wrong}.") from None
    if len(items) > MOST_EVENTS:
        raise ValueError(f"The batch has more than {MOST_EVENTS} events.")
    return [_decode_event(bytes(each)) for each in items]


def encode_results(results: Sequence[EventResult]) -> bytes:
    """Return the body of the answer to a batch."""
    return _encoder.encode(BatchAnswer(list(results)))


def decode_results(body: bytes, events: int) -> list[EventResult] | None:
    """Return the results of a batch of this many events; None for an answer of another kind."""
    try:
        results = _answers.decode(body).results
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return results if len(results) == events else None


def _decode_event(body: bytes) -> ImageStoredEvent | ValueError:
    try:
        return cloudevents.decode(_STRUCTURED, body)
    except ValueError as wrong:
        return wrong
