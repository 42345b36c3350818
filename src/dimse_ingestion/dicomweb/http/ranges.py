"""Byte ranges of one representation (RFC 9110 section 14), one range at a time.

Several ranges, or a unit other than bytes, are answered with the whole, as the RFC allows.
"""

import re
from dataclasses import dataclass
from http import HTTPStatus

from starlette.requests import Request

from dimse_ingestion.dicomweb.http.problems import Problem

_RANGE = re.compile(r"bytes\s*=\s*(\d{0,19})-(\d{0,19})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """`length` bytes from `offset` of `whole`."""

    offset: int
    length: int
    whole: int

    @property
    def content_range(self) -> str:
        """As Content-Range tells it."""
        return f"bytes {self.offset}-{self.offset + self.length - 1}/{self.whole}"


def byte_range(request: Request, whole: int, entity_tag: str) -> ByteRange | None:
    """The range a request wants of `whole` bytes; None for all of them.

    If-Range with another entity tag wants all. Raises Problem 416 when there is no such range.
    """
    found = _RANGE.fullmatch(request.headers.get("range", "").strip())
    condition = request.headers.get("if-range", entity_tag)
    if not found or condition != entity_tag or not any(found.groups()):
        return None
    begin, end = found.groups()
    offset = int(begin) if begin else max(0, whole - int(end))
    last = min(int(end), whole - 1) if begin and end else whole - 1
    if not whole or offset > last:
        raise Problem(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            f"There is no such range: there are {whole} bytes.",
            headers={"content-range": f"bytes */{whole}"},
        )
    return ByteRange(offset, last - offset + 1, whole)
