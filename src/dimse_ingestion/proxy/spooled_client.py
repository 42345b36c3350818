"""The transport of a proxy with `acknowledge: spooled`: a C-STORE ends when the outbox has it.

It is a `TransportClient` for the bridge, so that requests are served as in the mode `stored`. A
C-ECHO says whether a C-STORE would be accepted now (PS3.4 annex A verifies this AE, not the cloud);
queries go through to the service. `forwarder` sends what the outbox has.
"""

import time
from collections.abc import Callable, Sequence

import msgspec

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.outbox.outbox import Outbox
from dimse_ingestion.outbox.records import Metadata
from dimse_ingestion.transport.contract import FetchStream, FindStream, Source, TransportClient
from dimse_ingestion.transport.protocol.fetch import WINDOW
from dimse_ingestion.transport.protocol.messages import (
    CommitOpen,
    CommitResult,
    EchoRequest,
    EchoResult,
    FetchOpen,
    FindOpen,
    RetrieveInstance,
    RetrieveOpen,
    RetrieveResult,
    StoreOpen,
    StoreResult,
)

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(StoreOpen)


class SpooledClient:
    """Store into the outbox, and query by another client."""

    def __init__(
        self, outbox: Outbox, requester: TransportClient, clock: Callable[[], float] = time.time
    ) -> None:
        self._outbox = outbox
        self._requester = requester
        self._clock = clock

    async def echo(self, request: EchoRequest) -> EchoResult:  # noqa: ARG002 - the interface's
        """Return whether the outbox takes data sets."""
        if problem := self._outbox.problem:
            return EchoResult(status=Status.OUT_OF_RESOURCES, comment=problem)
        return EchoResult(status=Status.SUCCESS)

    async def store(
        self,
        open_: StoreOpen,
        source: Source,
        *,
        deadline: float,  # noqa: ARG002 - the interface's
    ) -> StoreResult:
        """Make one data set durable here. Raises Unavailable when the outbox can't take it."""
        metadata = Metadata(
            operation_id=open_.operation_id,
            received_at=self._clock(),
            size=open_.size,
            sha256=open_.sha256,
            request=_ENCODER.encode(open_),
            sop_instance_uid=open_.sop_instance_uid,
        )
        await self._outbox.add(metadata, source)
        return StoreResult(status=Status.SUCCESS, size=open_.size, sha256=open_.sha256)

    # what the outbox has no part in

    def find(self, open_: FindOpen) -> FindStream:
        """Start one query at the service."""
        return self._requester.find(open_)

    async def commit(self, open_: CommitOpen) -> CommitResult:
        """Have references checked by the service. Raises Failure."""
        return await self._requester.commit(open_)

    async def retrieve(self, open_: RetrieveOpen) -> tuple[RetrieveResult, list[RetrieveInstance]]:
        """Return the instances that an identifier names."""
        return await self._requester.retrieve(open_)

    def fetch(self, open_: FetchOpen, *, stored: bool, window: int = WINDOW) -> FetchStream:
        """Start to fetch a data set from the service."""
        return self._requester.fetch(open_, stored=stored, window=window)

    def fetch_batch(self, open_: FetchOpen) -> Sequence[FetchStream]:
        """Start to fetch several data sets from the service."""
        return self._requester.fetch_batch(open_)


def decode_request(metadata: Metadata) -> StoreOpen:
    """Return what is to be sent to the service. Raises msgspec.DecodeError (a ValueError)."""
    return _DECODER.decode(metadata.request)
