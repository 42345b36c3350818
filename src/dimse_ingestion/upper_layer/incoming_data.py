"""The schedule of reading one peer: in turns, not before the answer, and not after an abort.

`pdata` parses the bytes, `association` handles what they contain.
"""

from collections.abc import Callable

from dimse_ingestion.upper_layer.pdata import Fragment, Pdu, PduReader
from dimse_ingestion.upper_layer.pdus import PduType
from dimse_ingestion.upper_layer.transport_connection import TransportConnection

_AT_ONCE = 64
"""PDUs and fragments read in one turn of the loop: a peer that floods with tiny ones gets a
fraction of a millisecond of every turn, not the time that 256 KiB of them take."""
_IGNORED = 4 * 1024 * 1024
"""Bytes ignored after an A-ABORT, because the peer may still be sending; then it is closed."""


class IncomingData:
    """Read one peer; `is_deciding` returns whether its proposal is still unanswered."""

    def __init__(
        self,
        maximum_pdu_length: int,
        connection: TransportConnection,
        take: Callable[[Fragment | Pdu], None],
        is_deciding: Callable[[], bool],
    ) -> None:
        self._reader = PduReader(maximum_pdu_length)
        self._connection = connection
        self._take = take
        self._is_deciding = is_deciding
        self._early_data = False  # P-DATA arrived before the answer and stays unread
        self._stopped = False
        self._ignored = 0

    @property
    def is_within_pdu(self) -> bool:
        """Return whether a PDU has started and is incomplete."""
        return self._reader.is_within_pdu

    def read(self, received: memoryview) -> int:
        """Read bytes of the peer and return how many were consumed. Raises ProtocolError.

        The caller passes the rest again in a later turn of the loop, or when reading resumes.
        """
        if self._stopped:
            return self._ignore(received)
        if self._must_wait(received, 0):
            return 0
        reader = self._reader
        for count, item in enumerate(reader.feed(received), start=1):
            self._take(item)
            if count >= _AT_ONCE or (
                isinstance(item, Pdu) and self._must_wait(received, reader.consumed)
            ):
                return reader.consumed
        return len(received)

    def stop(self) -> None:
        """Ignore all further bytes: after an invalid PDU no PDU boundary is known."""
        self._stopped = True

    def proposal_answered(self) -> None:
        """Read the P-DATA that arrived before this side's answer."""
        if self._early_data:
            self._early_data = False
            self._connection.resume_reading()

    def _ignore(self, received: memoryview) -> int:
        self._ignored += len(received)
        if self._ignored > _IGNORED:
            self._connection.close()
        return len(received)

    def _must_wait(self, received: memoryview, position: int) -> bool:
        """Return whether P-DATA comes next that the requestor sent before it had the answer."""
        if not self._is_deciding() or self._reader.is_within_pdu:
            return False
        if position == len(received) or received[position] != PduType.P_DATA_TF:
            return False
        if not self._early_data:
            self._early_data = True
            self._connection.pause_reading()
        return True
