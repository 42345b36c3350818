"""The header block of a NATS message (NATS/1.0, ADR-4 of NATS).

It supports what transport v1 needs: no folding, no encoded words, each name once.
"""

from collections.abc import Mapping

_VERSION = b"NATS/1.0"
_LINE_END = "\r\n"


def encode(headers: Mapping[str, str]) -> bytes:
    """Return the header block. Raises ValueError for a line break in a name or value."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if lines.count("\r") != len(headers) or lines.count("\n") != len(headers):
        raise ValueError("a NATS header has a line break in its name or value")
    return b"NATS/1.0\r\n" + lines.encode() + b"\r\n"


def decode(block: bytes) -> dict[str, str]:
    """Return the headers of a block; a status line becomes `Status` and `Description`."""
    first, _, rest = block.decode("utf-8", "replace").partition(_LINE_END)
    headers = _status(first[len(_VERSION) :].strip())
    for line in rest.split(_LINE_END):
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip()] = value.strip()
    return headers


def _status(inline: str) -> dict[str, str]:
    if not inline:
        return {}
    status, _, description = inline.partition(" ")
    return {"Status": status, "Description": description} if description else {"Status": status}
