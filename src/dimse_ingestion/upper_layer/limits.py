"""The limits of one side for its peers; times in seconds, lengths in bytes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UpperLayerLimits:
    """Limits of one side. The number of associations is limited by the service."""

    maximum_pdu_length: int = 128 * 1024
    """Of a P-DATA-TF from a peer; announced to it, a longer one aborts (PS3.8 D.1)."""
    maximum_connections: int = 512
    """Connections, associated or not; a further one is closed at once."""
    artim_timeout: float = 30.0
    """For the A-ASSOCIATE-RQ on a new connection, and for the peer to close it at the end."""
    idle_timeout: float = 300.0
    """Without a byte from the peer between messages, while none is being performed."""
    dimse_timeout: float = 60.0
    """Without a byte from the peer within a message."""
    write_timeout: float = 60.0
    """For the peer to read some of the bytes sent."""
    response_timeout: float = 60.0
    """For the peer to answer a request of this side."""
