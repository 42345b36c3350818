"""The interface between a retrieve and the association that its C-STORE sub-operations go to.

For C-GET that is the requestor's own association, for C-MOVE one that the proxy opens to the move
destination. Which instances are sent, and what is counted, is in `retrieval`.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from dimse_ingestion.transport.protocol.messages import RetrieveInstance


class DataSet(Protocol):
    """The data set of one sub-operation, in the transfer syntax that was chosen for it."""

    def content(self) -> bytes | AsyncIterator[bytes]:
        """Return the data set, verified if it is whole; or its chunks, from the first byte on.

        The last chunk comes when the digest is verified. The iteration raises Failure when the data
        set can't be completed: what was sent of it must not become a whole one at the receiver. The
        data set can be had again by another call.
        """


class NotBegun(Exception):
    """A sub-operation was cancelled before its C-STORE began: it remains (PS3.4 C.4.2.3.1)."""


class SubOperationSender(Protocol):
    """Sends the sub-operations of one C-MOVE or C-GET, one after the other."""

    is_separate: bool
    """True if responses to the requestor may be sent while a sub-operation is under way."""

    async def open(self, instances: Sequence[RetrieveInstance]) -> Sequence[RetrieveInstance]:
        """Prepare to send these instances, and return them in the order in which to send them.

        Raises Failure when none of them can be sent.
        """

    def transfer_syntaxes(self, instance: RetrieveInstance) -> Sequence[str]:
        """Return the transfer syntaxes in which the receiver takes an instance of this class."""

    def refusal(self, instance: RetrieveInstance) -> str:
        """Return why no transfer syntax is accepted, and what to configure, as a sentence."""

    async def store(
        self, instance: RetrieveInstance, transfer_syntax_uid: str, data_set: DataSet
    ) -> int:
        """Send one instance by C-STORE and return the status of its response.

        Raises Failure when there is no response: the data set failed, or the association did.
        Raises NotBegun when a C-CANCEL came while it waited for an association.
        """

    async def close(self) -> None:
        """End what `open` and `store` have opened."""
