"""Events are encoded and decoded as by the CloudEvents project's own library."""

import json
from datetime import datetime
from typing import Any

import msgspec
import pytest
from cloudevents.core.bindings.http import (
    HTTPMessage,
    from_structured_event,
    to_binary_event,
    to_structured_event,
)
from cloudevents.core.v1.event import CloudEvent

from dimse_ingestion.dicom.elements import element
from dimse_ingestion.events.cloudevents import CONTENT_TYPE, decode, encode
from dimse_ingestion.events.contract import (
    Image,
    ImageStored,
    ImageStoredEvent,
    InstanceOrigin,
)
from tests.unit.events.examples import event

STRUCTURED = {"content-type": f"{CONTENT_TYPE}; charset=utf-8"}


def by_the_library() -> CloudEvent:
    """Return the example event as the CloudEvents library makes it."""
    ours = json.loads(encode(event()))
    data = ours.pop("data")
    ours["time"] = datetime.fromisoformat(ours["time"])
    return CloudEvent(ours, data)


def test_the_library_reads_what_we_write() -> None:
    read = from_structured_event(HTTPMessage({"content-type": CONTENT_TYPE}, encode(event())))
    assert read.get_specversion() == "1.0"
    assert read.get_type() == "ImageStoredEvent"
    assert read.get_id() == event().id
    assert read.get_source() == "dimse-ingestion"
    assert read.get_subject() == "1.2.3"
    assert read.get_datacontenttype() == "application/json"
    assert read.get_extension("traceparent") == event().traceparent
    data = read.get_data()
    assert isinstance(data, dict)
    assert data["store"]["objectName"] == "instances/ab/x.dcm"
    assert data["image"]["transferSyntaxUID"] == "1.2.840.10008.1.2.1"
    assert data["image"]["elements"][1] == {
        "group": "0010",
        "element": "0010",
        "vr": "PN",
        "value": "山田^太郎",
    }


def test_we_read_what_the_library_writes_in_structured_mode() -> None:
    message = to_structured_event(by_the_library())
    assert decode(message.headers, message.body) == event()


def test_we_read_what_the_library_writes_in_binary_mode() -> None:
    message = to_binary_event(by_the_library())
    headers = {name.lower(): value for name, value in message.headers.items()}
    assert decode(headers, message.body) == event()


def test_what_is_optional_is_left_out_and_what_is_required_is_not() -> None:
    bare = ImageStoredEvent(id="1", source="s", data=event().data)
    written = json.loads(encode(bare))
    assert list(written) == ["specversion", "type", "datacontenttype", "id", "source", "data"]
    assert decode(STRUCTURED, encode(bare)) == bare


def test_unknown_attributes_are_passed_over() -> None:
    written = json.loads(encode(event())) | {"knativearrivaltime": "2026-01-02T03:04:05Z"}
    assert decode(STRUCTURED, json.dumps(written).encode()) == event()


def test_the_original_s_event_without_our_additions_is_taken() -> None:
    written = json.loads(encode(event()))
    for addition in ("size", "sha256", "headerSize"):
        del written["data"]["store"][addition]
    assert decode(STRUCTURED, json.dumps(written).encode()).data.store.size == 0


def changed(**changes: Any) -> bytes:
    return json.dumps(json.loads(encode(event())) | changes).encode()


@pytest.mark.parametrize(
    ("headers", "body", "sentence"),
    [
        (STRUCTURED, b"", "malformed JSON"),
        (STRUCTURED, b'{"id": "\xff"}', "not an ImageStoredEvent"),
        (STRUCTURED, changed(type="other"), "Only ImageStoredEvent"),
        (STRUCTURED, changed(specversion="0.3"), "CloudEvents 1.0"),
        (STRUCTURED, changed(id=""), "must have an id"),
        (STRUCTURED, changed(data={"image": 1}), r"\$.data"),
        ({}, b"{}", "Send application/cloudevents"),
        ({"ce-type": "ImageStoredEvent"}, b"[]", "not an ImageStoredEvent"),
    ],
)
def test_an_invalid_request_is_refused_with_a_sentence(
    headers: dict[str, str], body: bytes, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        decode(headers, body)


def test_no_value_of_the_body_is_repeated() -> None:
    body = changed(data={"image": "SMITH^JOHN", "store": "SMITH"})
    with pytest.raises(ValueError, match="not an ImageStoredEvent") as raised:
        decode(STRUCTURED, body)
    assert "SMITH" not in str(raised.value)


def test_the_same_event_is_the_same_bytes() -> None:
    assert encode(event()) == encode(msgspec.structs.replace(event()))


@pytest.mark.parametrize("size", [100, 300_000])
def test_the_sender_of_an_instance_is_an_addition_to_the_data(size: int) -> None:
    origin = InstanceOrigin("CT1", "DICOM-INGEST", "ward7", "10.1.2.3", "2026-01-02T03:04:05Z")
    data = event().data
    long = Image(data.image.transfer_syntax_uid, [element(0x00104000, "LT", "x" * size)])
    sent = msgspec.structs.replace(event(), data=ImageStored(long, data.store, origin))
    assert decode(STRUCTURED, encode(sent)) == sent
    assert json.loads(encode(sent))["data"]["origin"] == {
        "callingAeTitle": "CT1",
        "calledAeTitle": "DICOM-INGEST",
        "proxyId": "ward7",
        "peerAddress": "10.1.2.3",
        "receivedAt": "2026-01-02T03:04:05Z",
    }
    assert "origin" not in json.loads(encode(event()))["data"]
