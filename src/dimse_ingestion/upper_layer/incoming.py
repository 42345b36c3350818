"""When the bytes of one peer are read: in turns, not before an answer, and no more after an abort.

What the bytes are is `pdata`'s matter, what becomes of them `association`'s.
"""

from collections.abc import Callable

from dimse_ingestion.upper_layer.pdata import Fragment, Pdu, PduReader
from dimse_ingestion.upper_layer.pdus import PduType
from dimse_ingestion.upper_layer.transport_connection import TransportConnection

_AT_ONCE = 64
"""PDUs and fragments read in one turn of the loop: a peer that floods with tiny ones takes a
fraction of a millisecond of every turn, not the time of 256 KiB of them."""
_IGNORED = 4 * 1024 * 1024
"""Bytes passed over after an A-ABORT, for a peer that sends on before it reads; then it is cut."""


class IncomingData:
    """Reads one peer; `is_deciding` says whether its proposal waits for an answer."""

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
        self._early_data = False  # P-DATA came before this side has answered; it waits unread
        self._stopped = False
        self._ignored = 0

    @property
    def is_within_pdu(self) -> bool:
        """Whether a PDU has begun and isn't whole."""
        return self._reader.is_within_pdu

    def read(self, received: memoryview) -> int:
        """Read bytes of the peer; return how many were taken. Raises ProtocolError.

        The rest is to be given again once others had their turn, or when reading goes on.
        """
        if self._stopped:
            return self._ignore(received)
        if self._must_wait(received):
            return 0
        for count, item in enumerate(self._reader.feed(received), start=1):
            self._take(item)
            consumed = self._reader.consumed
            if count >= _AT_ONCE or self._must_wait(received[consumed:]):
                return consumed
        return len(received)

    def stop(self) -> None:
        """Take nothing more: after what is no PDU, nothing that follows can be told apart."""
        self._stopped = True

    def proposal_answered(self) -> None:
        """Read what waited for this side's answer."""
        if self._early_data:
            self._early_data = False
            self._connection.resume_reading()

    def _ignore(self, received: memoryview) -> int:
        self._ignored += len(received)
        if self._ignored > _IGNORED:
            self._connection.close()
        return len(received)

    def _must_wait(self, received: memoryview) -> bool:
        """Return whether P-DATA comes next that a requestor sent without awaiting the answer."""
        if not self._is_deciding() or self._reader.is_within_pdu:
            return False
        if not received or received[0] != PduType.P_DATA_TF:
            return False
        if not self._early_data:
            self._early_data = True
            self._connection.pause_reading()
        return True
