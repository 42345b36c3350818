"""HTTP bodies of answers that summarize matches: their number, and a digest of their objects.

They answer queries at `wire.COUNT` and `wire.DIGEST`, each by a JSON object.
"""

import msgspec

from dimse_ingestion.queries.contract import ObjectsDigest


class _Count(msgspec.Struct, frozen=True):
    count: int | None


_encoder = msgspec.json.Encoder()
_counts = msgspec.json.Decoder(_Count)
_digests = msgspec.json.Decoder(ObjectsDigest)


def encode_count(number: int | None) -> bytes:
    """Return the body with the number of matches; None if it is not known."""
    return _encoder.encode(_Count(number))


def decode_count(body: bytes) -> int | None:
    """Return the number in the body of an answer; raises ValueError if it has none."""
    return _counts.decode(body).count


def encode_digest(digest: ObjectsDigest) -> bytes:
    """Return the body with the digest of objects."""
    return _encoder.encode(digest)


def decode_digest(body: bytes) -> ObjectsDigest:
    """Return the digest in the body of an answer; raises ValueError if it has none."""
    return _digests.decode(body)
