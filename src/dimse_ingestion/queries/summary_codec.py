"""HTTP bodies of answers that summarize matches: their number, and a digest of their objects.

They answer queries at `wire.COUNT` and `wire.DIGEST`, each by a JSON object, or by problem details
(RFC 9457) for a query that is refused.
"""

import msgspec

from dimse_ingestion.failures import Invalid
from dimse_ingestion.queries.contract import ObjectsDigest


class _Count(msgspec.Struct, frozen=True):
    count: int | None


class _Problem(msgspec.Struct, frozen=True):
    title: str


_encoder = msgspec.json.Encoder()
_counts = msgspec.json.Decoder(_Count)
_problems = msgspec.json.Decoder(_Problem)
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


def decode_refusal(body: bytes) -> Invalid:
    """Return the failure in the problem details for a query that is invalid."""
    try:
        return Invalid(_problems.decode(body).title)
    except ValueError:
        return Invalid("The catalogue refuses the query.")
