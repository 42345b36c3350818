"""JSON of elements is counted before it takes memory, and refused with what is wrong of it."""

import time

import msgspec
import pytest

from dimse_ingestion.dicom.element_json import decode
from dimse_ingestion.dicom.elements import Element

DECODER = msgspec.json.Decoder(list[Element])


def test_what_is_within_the_bound_is_decoded() -> None:
    elements = [Element("0010", "0010", "PN", "[{,"), Element("0008", "1140", "SQ", items=[[]])]
    assert decode(DECODER, msgspec.json.encode(elements), 100) == elements


SEQUENCE = b'[{"group":"0008","element":"1140","vr":"SQ","items":['
REFUSED = {
    "items": (SEQUENCE + b"[]," * 5000, "more than 2000"),
    "numbers": (b"[" + b"1," * 10_000, "more than 2000"),
    "objects": (b'{"a":' * 5000, "more than 2000"),
    "depth": (SEQUENCE * 500, "nested too deeply"),
    "end": (b"[", "malformed JSON"),
    "surrogate": (b'[{"group":"\\ud800","element":"0010","vr":"PN"}]', "malformed JSON"),
    "UTF-8": (b"\xff", "malformed JSON"),
    "field": (b'[{"group":"0010"}]', "missing required field"),
}


@pytest.mark.parametrize("which", REFUSED)
def test_anything_else_is_refused_with_a_sentence(which: str) -> None:
    body, sentence = REFUSED[which]
    with pytest.raises(ValueError, match=sentence):
        decode(DECODER, body, 2000)


@pytest.mark.no_cover  # it measures CPU time
def test_very_many_structures_take_no_time() -> None:
    body = SEQUENCE + b"[]," * 10_000_000
    began = time.process_time()
    with pytest.raises(ValueError, match="more than"):
        decode(DECODER, body, 500_000)
    assert time.process_time() - began < 5
