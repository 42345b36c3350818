"""Batches are encoded and decoded as by the CloudEvents project's own format."""

import json

import pytest

from dimse_ingestion.events import batch_codec
from dimse_ingestion.events.batch_codec import EventResult, decode_batch, encode_batch
from dimse_ingestion.events.cloudevents import encode
from tests.unit.events.examples import event


def test_a_batch_is_the_json_array_of_its_events() -> None:
    events = [event(str(number)) for number in range(3)]
    body = encode_batch([encode(each) for each in events])
    assert json.loads(body) == [json.loads(encode(each)) for each in events]
    assert decode_batch(body) == events


def test_an_empty_batch_has_no_events() -> None:
    assert decode_batch(encode_batch([])) == []


@pytest.mark.parametrize(
    ("invalid", "sentence"),
    [
        (b"7", "not an ImageStoredEvent"),
        (b'"\xff"', "not an ImageStoredEvent"),
        (b"{}", "not an ImageStoredEvent"),
        (encode(event("")), "must have an id"),
    ],
)
def test_an_invalid_event_does_not_affect_the_others(invalid: bytes, sentence: str) -> None:
    first, wrong, last = decode_batch(encode_batch([encode(event("1")), invalid, encode(event())]))
    assert (first, last) == (event("1"), event())
    assert isinstance(wrong, ValueError)
    assert sentence in str(wrong)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "malformed JSON"),
        (b"[{}", "malformed JSON"),
        (encode(event()), "not a batch"),
        (b"[" + b"0," * 1000 + b"0]", "more than 1000 events"),
        (b"[" + b"[]," * 800_001 + b"[]]", "more than 800000 elements"),
    ],
)
def test_a_body_that_is_no_batch_is_refused(body: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        decode_batch(body)


def test_results_have_the_order_of_the_events() -> None:
    results = [EventResult(202), EventResult(422, "It is wrong."), EventResult(503, "Later.")]
    body = batch_codec.encode_results(results)
    assert json.loads(body) == {
        "results": [
            {"status": 202},
            {"status": 422, "detail": "It is wrong."},
            {"status": 503, "detail": "Later."},
        ]
    }
    assert batch_codec.decode_results(body, 3) == results


@pytest.mark.parametrize(
    "body",
    [b"", b"accepted", b"\xff", b"{}", b"[]", b'{"results": [{}, {}]}', b'{"results": []}'],
)
def test_an_answer_without_a_result_for_each_event_is_recognized(body: bytes) -> None:
    assert batch_codec.decode_results(body, 2) is None
