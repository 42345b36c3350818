"""Data sets as the body of an answer: DICOM JSON as one array, XML as parts of multipart/related.

PS3.18 section 8.7.3. What the data sets are is each service's matter; each is encoded as it comes,
so that an answer can be streamed.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from uuid import uuid4

import orjson
from starlette.requests import Request

from dimse_ingestion.dicom.dicom_json import Address, to_json
from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.dicom.native_model import to_xml
from dimse_ingestion.dicomweb.accepting import JSON, XML, accepted, chosen


@dataclass(frozen=True, slots=True)
class Form:
    """How data sets are written after each other: what stands before, between and after them."""

    media_type: str
    begin: bytes
    between: bytes
    end: bytes
    encoded: Callable[[Iterable[Element], Address], bytes]

    def body(self, encoded: Iterable[bytes]) -> bytes:
        """The whole body of what was encoded."""
        return self.begin + self.between.join(encoded) + self.end


def form_for(request: Request) -> Form:
    """The form a request wants; raises Problem 406 when it wants none of the two."""
    return _json() if chosen(accepted(request), [JSON, XML]).offer == JSON else _xml()


def _json() -> Form:
    return Form(
        JSON, b"[", b",", b"]", lambda elements, address: orjson.dumps(to_json(elements, address))
    )


def _xml() -> Form:
    boundary = uuid4().hex
    head = f"--{boundary}\r\nContent-Type: application/dicom+xml\r\n\r\n".encode()
    return Form(
        f"{XML}; boundary={boundary}",
        head,
        b"\r\n" + head,
        f"\r\n--{boundary}--\r\n".encode(),
        to_xml,
    )
