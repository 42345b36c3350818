"""What one acceptor allows its peers; times in seconds, lengths in bytes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UpperLayerLimits:
    """Limits of an acceptor. How many associations there may be is its service's decision."""

    maximum_pdu_length: int = 128 * 1024
    """Of a P-DATA-TF of a peer; announced to it, a longer one aborts (PS3.8 D.1)."""
    maximum_connections: int = 512
    """Connections, associated or not; one more is closed at once."""
    artim_timeout: float = 30.0
    """For the A-ASSOCIATE-RQ after the connection, and for the peer to close it at the end."""
    idle_timeout: float = 300.0
    """Without a byte from the peer while nothing of it is being performed."""
    dimse_timeout: float = 60.0
    """Without a byte from the peer within a message."""
    write_timeout: float = 60.0
    """In which a peer must read something of what is sent."""
