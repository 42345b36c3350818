"""Data sets as the body of a response: a DICOM JSON array, or XML parts of multipart/related.

PS3.18 section 8.7.3. Each data set is encoded on its own, so that a response can be streamed.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from uuid import uuid4

import orjson
from starlette.requests import Request

from dimse_ingestion.dicom.dicom_json import BulkDataUri, Path, to_json
from dimse_ingestion.dicom.elements import Element, is_large
from dimse_ingestion.dicom.native_model import xml_pieces
from dimse_ingestion.dicomweb.http.content_negotiation import (
    JSON,
    XML,
    accepted_types,
    choose_offer,
)
from dimse_ingestion.dicomweb.http.problems import Problem

XML_DOCUMENT = "application/dicom+xml"

_AT_ONCE = 500  # elements
_SLICE = 64 * 1024  # bytes that are encoded without a break
_thread = ThreadPoolExecutor(1, "encode")  # of several, each would wait for the others' GIL


@dataclass(frozen=True, slots=True)
class DataSetFormat:
    """A format for a sequence of data sets: the bytes before, between and after them."""

    media_type: str
    begin: bytes
    between: bytes
    end: bytes
    pieces: Callable[[Iterable[Element], BulkDataUri], Iterator[bytes]]

    def encoded(self, elements: Iterable[Element], address: BulkDataUri) -> bytes:
        """Return one data set."""
        return b"".join(self.pieces(elements, address))

    async def slices(
        self, elements: list[Element], address: BulkDataUri
    ) -> AsyncGenerator[bytes, None]:
        """Yield one data set; a large one in slices from a thread.

        So the event loop stays responsive, and a large data set is never in memory whole.
        """
        if not is_large(elements):
            yield self.encoded(elements, address)
            return
        slices = _joined(self.pieces(elements, address))
        loop = asyncio.get_running_loop()
        while content := await loop.run_in_executor(_thread, next, slices, b""):
            yield content

    def body(self, encoded: Iterable[bytes]) -> bytes:
        """Return the whole body of encoded data sets."""
        return self.begin + self.between.join(encoded) + self.end


def _joined(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the pieces joined to slices."""
    joined = bytearray()
    for each in pieces:
        joined += each
        if len(joined) >= _SLICE:
            yield bytes(joined)
            joined.clear()
    if joined:
        yield bytes(joined)


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
    return DataSetFormat(JSON, b"[", b",", b"]", _json_pieces)


def json_document(elements: Iterable[Element], address: BulkDataUri) -> bytes:
    """Return a data set as a JSON object."""
    return b"".join(_json_pieces(elements, address))


def _json_pieces(
    elements: Iterable[Element], address: BulkDataUri, above: Path = ()
) -> Iterator[bytes]:
    """Yield a data set's JSON object in pieces; a large one is never in memory as objects."""
    before = b"{"
    for some in _batches(elements):
        yield before
        before = b","
        if len(some) == 1 and some[0].items and is_large(some):
            yield from _large_sequence(some[0], some[0].items, address, above)
        else:
            yield orjson.dumps(to_json(some, address, above))[1:-1]
    yield b"{}" if before == b"{" else b"}"


def _batches(elements: Iterable[Element]) -> Iterator[list[Element]]:
    """Yield elements in order of tags, some at once; a large sequence alone."""
    some: list[Element] = []
    for each in sorted(elements, key=lambda each: each.group + each.element):
        is_alone = each.items and is_large([each])
        if some and (is_alone or len(some) == _AT_ONCE):
            yield some
            some = []
        some.append(each)
        if is_alone:
            yield some
            some = []
    if some:
        yield some


def _large_sequence(
    each: Element, items: Iterable[list[Element]], address: BulkDataUri, above: Path
) -> Iterator[bytes]:
    tag = each.group + each.element
    yield b'"%s":{"vr":"SQ","Value":' % tag.encode()
    before = b"["
    for number, item in enumerate(items, start=1):
        yield before
        before = b","
        path = (*above, tag, str(number))
        if is_large(item):
            yield from _json_pieces(item, address, path)
        else:
            yield orjson.dumps(to_json(item, address, path))
    yield b"]}"


def _xml_document() -> DataSetFormat:
    return DataSetFormat(XML_DOCUMENT, b"", b"", b"", xml_pieces)


def _xml() -> DataSetFormat:
    boundary = uuid4().hex
    head = f"--{boundary}\r\nContent-Type: application/dicom+xml\r\n\r\n".encode()
    return DataSetFormat(
        f"{XML}; boundary={boundary}",
        head,
        b"\r\n" + head,
        f"\r\n--{boundary}--\r\n".encode(),
        xml_pieces,
    )
