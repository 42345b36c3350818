import asyncio
from collections.abc import AsyncGenerator
from email import message_from_bytes

import orjson
import pytest
from starlette.requests import Request

from dimse_ingestion.dicom.dicom_json import to_json
from dimse_ingestion.dicom.elements import BulkReference, Element, element
from dimse_ingestion.dicomweb.http.representations import (
    data_set_format,
    json_document,
    store_response_format,
)

DATA_SETS = [[element(0x00100020, "LO", str(number))] for number in range(3)]


def request(accept: str) -> Request:
    headers = [(b"accept", accept.encode())]
    return Request({"type": "http", "headers": headers, "query_string": b""})


def body(accept: str, number: int) -> tuple[str, bytes]:
    form = data_set_format(request(accept))
    encoded = [form.encoded(each, "/".join) for each in DATA_SETS[:number]]
    return form.media_type, form.body(encoded)


@pytest.mark.parametrize("number", [1, 3])
def test_json_is_one_array(number: int) -> None:
    media_type, content = body("application/dicom+json", number)
    assert media_type == "application/dicom+json"
    assert [each["00100020"]["Value"] for each in orjson.loads(content)] == [
        [str(each)] for each in range(number)
    ]


@pytest.mark.parametrize("number", [1, 3])
def test_xml_is_one_part_for_each(number: int) -> None:
    media_type, content = body('multipart/related; type="application/dicom+xml"', number)
    whole = message_from_bytes(b"Content-Type: " + media_type.encode() + b"\r\n\r\n" + content)
    assert whole.is_multipart()
    parts = [each for each in whole.walk() if not each.is_multipart()]
    assert len(parts) == number
    assert {each.get_content_type() for each in parts} == {"application/dicom+xml"}
    assert all(str(each.get_payload()).startswith("<?xml") for each in parts)


async def whole(slices: AsyncGenerator[bytes, None]) -> bytes:
    return b"".join([each async for each in slices])


def large() -> list[Element]:
    """Return some thousand elements, in one sequence of many items, one item of many elements."""
    code = Element("0008", "0100", "SH", "A")
    bulk = Element("0042", "0011", "OB", bulk=BulkReference(0, 9))
    many = [element(0x00410000 + number, "LO", str(number)) for number in range(1, 1800)]
    items = [[code, bulk, Element("0008", "1140", "SQ", items=[[bulk]])]] * 300
    return [
        element(0x00100010, "PN", "Doe^Jane"),
        Element("5200", "9230", "SQ", items=items),
        Element("5200", "9229", "SQ", items=[many, []]),
        Element("0008", "1115", "SQ", items=[[Element("0008", "1199", "SQ", items=items)]]),
        *many,
    ]


def test_a_large_data_set_is_encoded_like_a_small_one() -> None:
    def address(path: tuple[str, ...]) -> str:
        return "/".join(path)

    assert json_document(large(), address) == orjson.dumps(to_json(large(), address))


async def test_the_event_loop_runs_while_a_large_data_set_is_encoded() -> None:
    form, turns = data_set_format(request("application/dicom+json")), 0
    writing = asyncio.create_task(whole(form.slices(large(), "/".join)))
    while not writing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 2
    assert (await writing) == json_document(large(), "/".join)


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "application/dicom+json"),
        ("application/dicom+xml", "application/dicom+xml"),
        ('multipart/related; type="application/dicom+xml"', "multipart/related"),
        ("application/xml", "application/dicom+json"),
        ("text/html;q=0.9", "application/dicom+json"),
        ("no media type", "application/dicom+json"),
    ],
)
def test_a_store_response_has_a_format_whatever_is_accepted(accept: str, media_type: str) -> None:
    headers = [(b"accept", accept.encode())]
    request = Request({"type": "http", "headers": headers, "query_string": b""})
    assert store_response_format(request).media_type.partition(";")[0] == media_type
