"""Data sets as the body of a response: a DICOM JSON array, or XML parts of multipart/related.

PS3.18 section 8.7.3. Each data set is encoded on its own, so that a response can be streamed.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from uuid import uuid4

import orjson
from starlette.requests import Request

from dimse_ingestion.dicom.dicom_json import BulkDataUri, Path, to_json
from dimse_ingestion.dicom.elements import Element, is_large
from dimse_ingestion.dicom.native_model import to_xml
from dimse_ingestion.dicomweb.http.content_negotiation import (
    JSON,
    XML,
    accepted_types,
    choose_offer,
)
from dimse_ingestion.dicomweb.http.problems import Problem

XML_DOCUMENT = "application/dicom+xml"

_AT_ONCE = 500  # elements


@dataclass(frozen=True, slots=True)
class DataSetFormat:
    """A format for a sequence of data sets: the bytes before, between and after them."""

    media_type: str
    begin: bytes
    between: bytes
    end: bytes
    encoded: Callable[[Iterable[Element], BulkDataUri], bytes]

    async def encode(self, elements: list[Element], address: BulkDataUri) -> bytes:
        """Encode one data set; a large one in a thread, so that the event loop stays responsive."""
        if is_large(elements):
            return await asyncio.to_thread(self.encoded, elements, address)
        return self.encoded(elements, address)

    def body(self, encoded: Iterable[bytes]) -> bytes:
        """Return the whole body of encoded data sets."""
        return self.begin + self.between.join(encoded) + self.end


def data_set_format(request: Request) -> DataSetFormat:
    """Return the format that a request wants; raises Problem 406 when it wants neither."""
    return _json() if choose_offer(accepted_types(request), [JSON, XML]).offer == JSON else _xml()


def store_response_format(request: Request) -> DataSetFormat:
    """Return the format for the one data set of a store response (PS3.18 table 10.5.3-1).

    It is JSON when Accept includes no available format: instances are stored in any case (RFC 9110
    12.4.1 allows to disregard Accept).
    """
    forms = {JSON: _json, XML_DOCUMENT: _xml_document, XML: _xml}
    try:
        return forms[choose_offer(accepted_types(request), list(forms)).offer]()
    except Problem:
        return _json()


def _json() -> DataSetFormat:
    return DataSetFormat(JSON, b"[", b",", b"]", json_document)


def json_document(elements: Iterable[Element], address: BulkDataUri) -> bytes:
    """Return a data set as a JSON object."""
    return b"{%s}" % b",".join(_members(elements, address, ()))


def _members(elements: Iterable[Element], address: BulkDataUri, above: Path) -> Iterator[bytes]:
    """Yield a data set's JSON members in batches; a large one is never in memory as objects."""
    some: list[Element] = []
    for each in sorted(elements, key=lambda each: each.group + each.element):
        if each.items and is_large([each]):
            yield from _some_members(some, address, above)
            some.clear()
            yield _large_sequence(each, each.items, address, above)
        else:
            some.append(each)
            if len(some) == _AT_ONCE:
                yield from _some_members(some, address, above)
                some.clear()
    yield from _some_members(some, address, above)


def _some_members(elements: list[Element], address: BulkDataUri, above: Path) -> Iterator[bytes]:
    if elements:
        yield orjson.dumps(to_json(elements, address, above))[1:-1]


def _large_sequence(
    each: Element, items: list[list[Element]], address: BulkDataUri, above: Path
) -> bytes:
    tag = each.group + each.element
    encoded = (
        b"{%s}" % b",".join(_members(item, address, (*above, tag, str(number))))
        for number, item in enumerate(items, start=1)
    )
    return b'"%s":{"vr":"SQ","Value":[%s]}' % (tag.encode(), b",".join(encoded))


def _xml_document() -> DataSetFormat:
    return DataSetFormat(XML_DOCUMENT, b"", b"", b"", to_xml)


def _xml() -> DataSetFormat:
    boundary = uuid4().hex
    head = f"--{boundary}\r\nContent-Type: application/dicom+xml\r\n\r\n".encode()
    return DataSetFormat(
        f"{XML}; boundary={boundary}",
        head,
        b"\r\n" + head,
        f"\r\n--{boundary}--\r\n".encode(),
        to_xml,
    )
