"""The interfaces between the transport and the services at its two ends.

The proxy uses a `TransportClient`; the ingestion service implements `Operations`. Both work over
NATS (`nats.client`) and over the in-memory carrier (`memory`), so that a service is tested without
a server.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from dimse_ingestion.transport.protocol.messages import (
    CommitOpen,
    CommitResult,
    EchoRequest,
    EchoResult,
    FetchOpen,
    FetchResult,
    FindMatch,
    FindOpen,
    FindResult,
    RetrieveInstance,
    RetrieveOpen,
    RetrieveResult,
    StoreOpen,
    StoreResult,
)


class Source(Protocol):
    """The bytes of one data set, which the proxy keeps until the operation has its result."""

    def read(self, offset: int, length: int) -> bytes:
        """Return at most `length` bytes from `offset`, quickly (memory or the page cache)."""


class FindStream(Protocol):
    """A C-FIND in progress at the proxy: iterate for the matches, then read `result`."""

    def __aiter__(self) -> AsyncIterator[FindMatch]:
        """Iterate over the matches in the order of the catalogue."""

    def cancel(self) -> None:
        """Cancel the query; the iteration ends soon after, with FE00 as the result."""

    @property
    def result(self) -> FindResult:
        """Return the result; valid only after the iteration ended."""


class FetchStream(Protocol):
    """A data set that is being fetched at the proxy: iterate over its pieces, then it is verified.

    Its transfer starts with the construction and is bounded by one window, so that several
    streams can be filled ahead of the one that is read. Close it in every case.
    """

    async def wait_until_buffered(self) -> None:
        """Wait until the whole data set has arrived and is verified, or a window of it.

        Raises Failure as the iteration does: nothing of a data set that fails here was delivered.
        """

    def take_whole(self) -> bytes | None:
        """Return a verified data set that is in memory as a whole; else None: iterate over it.

        After `wait_until_buffered`, and instead of the iteration.
        """

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the pieces; the last one is delivered when the digest is verified.

        Raises Failure when the object is missing, its bytes are not those announced, or no replica
        sends the rest in time.
        """

    async def close(self) -> None:
        """End the transfer, wherever it is."""


class TransportClient(Protocol):
    """The proxy's end of the transport."""

    async def echo(self, request: EchoRequest) -> EchoResult:
        """Send a C-ECHO to a replica. Raises Failure when none answers within the budget."""

    async def store(self, open_: StoreOpen, source: Source, *, deadline: float) -> StoreResult:
        """Send one data set and return its result, with retries on any replica.

        `deadline` is in seconds from now; after it A700. Never raises Failure: every end of
        an operation is a StoreResult.
        """

    def find(self, open_: FindOpen) -> FindStream:
        """Start one query. The iteration raises no Failure: a failure is the result."""

    async def commit(self, open_: CommitOpen) -> CommitResult:
        """Have references checked, and return a result with a reason for each.

        Raises Failure when nothing could be found out: no replica serves it, or a backend failed.
        """

    async def retrieve(self, open_: RetrieveOpen) -> tuple[RetrieveResult, list[RetrieveInstance]]:
        """Return the instances that an identifier names; the list is empty after a failure.

        Never raises Failure: A702 when the service is older than this operation. A caller that is
        cancelled ends the list, and the replica is sent an ABORT.
        """

    def fetch(self, open_: FetchOpen, *, stored: bool, window: int = ...) -> FetchStream:
        """Start to fetch a data set, at most `window` bytes of it ahead of its reader.

        With `stored` its digest must be the announced one.
        """

    def fetch_batch(self, open_: FetchOpen) -> Sequence[FetchStream]:
        """Start to fetch the objects of an open by one request; return a stream for each, in order.

        They are data sets as they are stored, in a number and of sizes that
        `fetch_batch.batch_length` allows. Each stream fails, and is closed, without the others.
        """


class MatchSink(Protocol):
    """The receiver of the matches of `Operations.find`."""

    @property
    def cancelled(self) -> bool:
        """Return whether no more matches are needed: after a C-CANCEL, or without the proxy."""

    async def send(self, match: FindMatch) -> None:
        """Send one match; wait while the proxy has granted no credit."""


class InstanceSink(Protocol):
    """The receiver of the instances of `Operations.retrieve`."""

    @property
    def cancelled(self) -> bool:
        """Return whether no more instances are needed."""

    async def send(self, instance: RetrieveInstance) -> None:
        """Send one instance; wait while the proxy has granted no credit."""


class ByteSink(Protocol):
    """The receiver of the bytes of `Operations.fetch`."""

    @property
    def cancelled(self) -> bool:
        """Return whether no more bytes are needed."""

    async def send(self, content: bytes | memoryview) -> None:
        """Send the next bytes; wait while the proxy has granted no credit."""


class Operations(Protocol):
    """The ingestion service's end of the transport: the operations that requests call.

    A Failure raised by any of them becomes the operation's result; any other exception is
    logged and becomes 0110 with a comment that says no more than "internal error".
    """

    async def echo(self, request: EchoRequest) -> EchoResult:
        """Check every service that this replica depends on."""

    async def already_stored(self, open_: StoreOpen) -> StoreResult | None:
        """Return the result when the announced digest is stored and its event accepted, or None."""

    async def store(self, open_: StoreOpen, chunks: AsyncIterator[bytes]) -> StoreResult:
        """Store one data set; each chunk read from `chunks` gives the sender new credit.

        Called after `already_stored` has returned None for the same open.
        `chunks` raises Unavailable when the transfer ends early (lease expired, ABORT) or when its
        size or digest differs from what was announced: nothing of it may then become visible.
        A success without reading `chunks` to the end is not accepted.
        """

    async def store_inline(self, open_: StoreOpen, chunks: AsyncIterator[bytes]) -> StoreResult:
        """Store one data set that came with its open, unless it is stored already.

        As `already_stored` and `store` together; a duplicate needs no reading of `chunks`.
        """

    async def find(self, open_: FindOpen, sink: MatchSink) -> FindResult:
        """Answer one query; check `sink.cancelled` between matches."""

    async def commit(self, open_: CommitOpen) -> CommitResult:
        """Check for each reference whether its instance is stored."""

    async def retrieve(self, open_: RetrieveOpen, sink: InstanceSink) -> RetrieveResult:
        """Send the instances that an identifier names; check `sink.cancelled` between them."""

    async def fetch(self, open_: FetchOpen, sink: ByteSink) -> FetchResult:
        """Send the bytes of a data set from the open's offset on; return its size and digest.

        An open with `more` is a batch: send its data sets one after the other, each whole, and
        return how many; a Failure concerns the first one.
        """
