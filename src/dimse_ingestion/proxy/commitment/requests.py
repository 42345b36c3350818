"""The answer to N-ACTION requests of storage commitment (PS3.4 J.3.2).

0000 says that the request is durable in the journal; every other status that nothing was recorded.
"""

import asyncio
from collections.abc import Callable

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.dicom.uids import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.proxy.commitment.action_information import LONGEST, ActionInformation, parse
from dimse_ingestion.proxy.commitment.journal import Entry, Journal
from dimse_ingestion.proxy.commitment.transactions import Accepted, digest
from dimse_ingestion.proxy.identifier import IdentifierBuffer
from dimse_ingestion.settings import Peer
from dimse_ingestion.upper_layer.services import Message

_LOG = logger(__name__)
_REQUEST_STORAGE_COMMITMENT = 1
"""Action Type ID (PS3.4 table J.3-1)."""
_LONGEST_OF_OTHERS = 64 * 1024  # bytes; their requests are refused


class CommitmentRequests:
    """Records requests in the journal; `peer` returns the settings of an AE title."""

    def __init__(
        self, journal: Journal, peer: Callable[[str], Peer | None], clock: Callable[[], float]
    ) -> None:
        self._journal = journal
        self._peer = peer
        self._clock = clock
        self._parsing = asyncio.Lock()  # a long request takes some 20 MiB while it is parsed

    def longest(self, calling_ae_title: str) -> int:
        """Return the bytes of Action Information that are held for an AE."""
        peer = self._peer(calling_ae_title)
        return LONGEST if peer is not None and "commit" in peer.may else _LONGEST_OF_OTHERS

    async def accept(self, message: Message) -> Entry:
        """Record a request durably, and return its transaction. Raises Failure."""
        _check_command(message)
        self._check_caller(message.association.request.calling_ae_title)
        async with self._parsing:
            information = await parse(_content(message), message.context.transfer_syntax_uid)
        return await self._record(message, information)

    async def _record(self, message: Message, information: ActionInformation) -> Entry:
        request = message.association.request
        known = list(self._journal.find(request.calling_ae_title, information.transaction_uid))
        wanted = digest(information.references)
        if same := next((each for each in known if each.digest == wanted), None):
            return same
        accepted = Accepted(
            transaction_uid=information.transaction_uid,
            calling_ae_title=request.calling_ae_title,
            called_ae_title=request.called_ae_title,
            received_at=self._clock(),
            references=information.references,
            is_duplicate=bool(known),
        )
        try:
            return await self._journal.add(accepted)
        except OSError as error:
            _LOG.error("The commitment journal can't be read or written.", reason=str(error))
            raise DimseFailure(
                Status.PROCESSING_FAILURE, "The commitment journal can't be written"
            ) from error

    def _check_caller(self, calling_ae_title: str) -> None:
        """Raise DimseFailure for an AE to which no report could be sent, or without the right."""
        peer = self._peer(calling_ae_title)
        if peer is None or peer.address is None:
            raise DimseFailure(
                Status.PROCESSING_FAILURE, "No address for the report: add this AE to peers"
            )
        if "commit" not in peer.may:
            raise DimseFailure(
                Status.NOT_AUTHORIZED, "This AE may not request storage commitment (peers, may)"
            )


def _check_command(message: Message) -> None:
    command = message.command
    if (
        command.affected_sop_class_uid != STORAGE_COMMITMENT
        or message.context.abstract_syntax != STORAGE_COMMITMENT
    ):
        raise DimseFailure(
            Status.NO_SUCH_SOP_CLASS, "N-ACTION is served for the Storage Commitment Push Model"
        )
    if command.affected_sop_instance_uid != STORAGE_COMMITMENT_INSTANCE:
        raise DimseFailure(
            Status.NO_SUCH_SOP_INSTANCE, f"The instance must be {STORAGE_COMMITMENT_INSTANCE}"
        )
    if command.action_type_id != _REQUEST_STORAGE_COMMITMENT:
        raise DimseFailure(Status.NO_SUCH_ACTION_TYPE, "The Action Type ID must be 1")


def _content(message: Message) -> bytes:
    content = message.data_set.content() if isinstance(message.data_set, IdentifierBuffer) else b""
    if not content:
        raise DimseFailure(Status.INVALID_ARGUMENT_VALUE, "The Action Information is missing")
    return content
