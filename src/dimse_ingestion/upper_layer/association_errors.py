"""Failures of an association that this side requests: not reached, rejected, lost (PS3.8 7.1).

A peer's status in a response is no failure here: the caller gets it.
"""

from dimse_ingestion.failures import Refused, Unavailable

_TRANSIENT = 2  # PS3.8 table 9-21
_SOURCES = {1: "its user", 2: "its provider", 3: "its presentation layer"}
_REASONS = {
    (1, 2): "application context name not supported",
    (1, 3): "calling AE title not recognized",
    (1, 7): "called AE title not recognized",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}


class PeerUnreachable(Unavailable):
    """No association: the peer is not reached, or its TLS handshake or answer does not come."""


class AssociationLost(Unavailable):
    """The association has ended before the request was answered."""


class AssociationRejected(Refused):
    """The peer answered A-ASSOCIATE-RJ; `transient` says that it may accept later."""

    def __init__(self, result: int, source: int, reason: int) -> None:
        text = _REASONS.get((source, reason), "no reason given")
        super().__init__(
            f"The association was rejected by {_SOURCES.get(source, 'an unknown source')}: {text} "
            f"({result}/{source}/{reason}).",
            transient=result == _TRANSIENT,
        )
        self.result = result
        self.source = source
        self.reason = reason
