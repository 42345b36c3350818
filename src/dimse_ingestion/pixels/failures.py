"""Failures of decoding, by kind; who answers a request maps them to DIMSE or HTTP statuses.

Too many waiting images are `Unavailable`, too much memory is `LimitExceeded`, a crashed or slow
decoder is a `Failure`, and pixels that no decoder understands are the kinds here.
"""

from dimse_ingestion.failures import Invalid


class Undecodable(Invalid):
    """The pixels are damaged, or in a format that can't be decoded; no retry helps."""


class DecodersMissing(Undecodable):
    """The decoders are not installed, so that no pixels can be decoded."""
