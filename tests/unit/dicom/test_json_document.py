import tracemalloc

import pytest

from dimse_ingestion.dicom import json_document
from dimse_ingestion.dicom.json_document import END, DataSetTooLarge, InvalidJson, JsonDocument


def data_sets(document: bytes) -> list[object]:
    reading = JsonDocument(document)
    found = []
    while (data_set := reading.next()) is not END:
        found.append(data_set)
    return found


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (b"[]", []),
        (b' [ {"a": 1} , {"a": 2} ] ', [{"a": 1}, {"a": 2}]),
        (b'{"a": 1}', [{"a": 1}]),
        (b'\xef\xbb\xbf[{"a": "\xc3\xbc"}]', [{"a": "ü"}]),
        (b"[[1], 2, null]", [[1], 2, None]),
        (b'[{"a": "\\ud800"}]', [{"a": "\ud800"}]),
        (b'[{"a": 1, "a": 2}, {}]', [None, {}]),
    ],
)
def test_data_sets_come_one_by_one(document: bytes, expected: list[object]) -> None:
    assert data_sets(document) == expected


@pytest.mark.parametrize("length", [10, 200_000, 600_000])
def test_a_data_set_of_any_length_is_read(length: int) -> None:
    text = '\\"}]{[,' * length
    document = b'[{"a": ["' + text.encode() + b'"]}, {}]'
    assert data_sets(document) == [{"a": [text.replace("\\", "")]}, {}]


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[",
        b"[{",
        b"[NaN]",
        b"[Infinity]",
        b"\xff",
        '[{"a": 1}]'.encode("utf-16"),
        b"[" * 100_000,
        b"[" * 1_000_000,
        b'{"a":' * 300_000,
        b"[" * 16_000_000,
        b"[" + b"9" * 5000 + b"]",
        b'[{"a": "' + b"x" * 400_000,
        b'[{"a": "' + b"x" * 400_000 + b'"} x',
    ],
)
def test_a_document_that_is_not_json_is_refused(document: bytes) -> None:
    with pytest.raises(InvalidJson):
        data_sets(document)


@pytest.mark.parametrize("value", [b"{}", b"[]", b"1", b'"ab"', b'{"a":[]}'])
def test_too_many_values_are_refused_before_they_take_memory(
    value: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_document, "MOST_ELEMENTS", 10_000)
    monkeypatch.setattr(json_document, "MOST_VALUES", 40_000)
    document = b'[{"a": [' + (value + b",") * 300_000 + value + b"]}]"
    tracemalloc.start()
    try:
        with pytest.raises(DataSetTooLarge, match="bulk"):
            data_sets(document)
        assert tracemalloc.get_traced_memory()[1] < 2 * len(document) + 16 * 2**20
    finally:
        tracemalloc.stop()
