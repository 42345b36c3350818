"""HTTP body of the answer to a query at `wire.COUNT`: the number of matches as a JSON object."""

import msgspec


class _Count(msgspec.Struct, frozen=True):
    count: int | None


_encoder = msgspec.json.Encoder()
_counts = msgspec.json.Decoder(_Count)


def encode_count(number: int | None) -> bytes:
    """Return the body with the number of matches; None if it is not known."""
    return _encoder.encode(_Count(number))


def decode_count(body: bytes) -> int | None:
    """Return the number in the body of an answer; raises ValueError if it has none."""
    return _counts.decode(body).count
