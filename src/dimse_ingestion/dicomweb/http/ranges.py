"""Byte ranges of one representation (RFC 9110 section 14), one range in each request.

For several ranges, or a unit other than bytes, the whole is given, as the RFC allows.
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
        """Return the value of Content-Range."""
        return f"bytes {self.offset}-{self.offset + self.length - 1}/{self.whole}"


def byte_range(request: Request, whole: int, entity_tag: str) -> ByteRange | None:
    """Return the range of `whole` bytes that a request wants; None for all of them.

    If-Range with another entity tag means all. Raises Problem 416 for a range that does not exist.
    """
    match = _RANGE.fullmatch(request.headers.get("range", "").strip())
    condition = request.headers.get("if-range", entity_tag)
    if not match or condition != entity_tag or not any(match.groups()):
        return None
    begin, end = match.groups()
    offset = int(begin) if begin else max(0, whole - int(end))
    last = min(int(end), whole - 1) if begin and end else whole - 1
    if not whole or offset > last:
        raise Problem(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            f"The range does not exist: the representation has {whole} bytes.",
            headers={"content-range": f"bytes */{whole}"},
        )
    return ByteRange(offset, last - offset + 1, whole)
