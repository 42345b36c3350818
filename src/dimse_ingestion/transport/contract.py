"""The interfaces between the transport and the services at its two ends.

The proxy uses a `TransportClient`; the ingestion service implements `Operations`. Both work over
NATS (`nats.client`) and over the in-memory carrier (`memory`), so that a service is tested without
a server.
"""

from collections.abc import AsyncIterator
from typing import Protocol

from dimse_ingestion.transport.protocol.messages import (
    CommitOpen,
    CommitResult,
    EchoRequest,
    EchoResult,
    FindMatch,
    FindOpen,
    FindResult,
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


class MatchSink(Protocol):
    """The receiver of the matches of `Operations.find`."""

    @property
    def cancelled(self) -> bool:
        """Return whether no more matches are needed: after a C-CANCEL, or without the proxy."""

    async def send(self, match: FindMatch) -> None:
        """Send one match; wait while the proxy has granted no credit."""


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

    async def find(self, open_: FindOpen, sink: MatchSink) -> FindResult:
        """Answer one query; check `sink.cancelled` between matches."""

    async def commit(self, open_: CommitOpen) -> CommitResult:
        """Check for each reference whether its instance is stored."""
