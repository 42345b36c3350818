from email import message_from_bytes

import orjson
import pytest
from starlette.requests import Request

from dimse_ingestion.dicom.elements import element
from dimse_ingestion.dicomweb.representing import form_for

DATA_SETS = [[element(0x00100020, "LO", str(number))] for number in range(3)]


def body(accept: str, number: int) -> tuple[str, bytes]:
    headers = [(b"accept", accept.encode())]
    form = form_for(Request({"type": "http", "headers": headers, "query_string": b""}))
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
    parts = whole.get_payload()
    assert len(parts) == number
    assert {each.get_content_type() for each in parts} == {"application/dicom+xml"}
    assert all(each.get_payload().startswith("<?xml") for each in parts)
