"""What the two ends of the transport offer the doors, whatever carries the bytes.

The proxy holds a `Requester`; the ingestion service hands in `Operations`. NATS (`link`) and the
in-memory carrier (`memory`) both stand behind these, so that a door is tested without a server.
"""

from collections.abc import AsyncIterator
from typing import Protocol

from dimse_ingestion.transport.protocol.messages import (
    EchoRequest,
    EchoResult,
    FindMatch,
    FindOpen,
    FindResult,
    StoreOpen,
    StoreResult,
)


class Source(Protocol):
    """The bytes of one data set, held by the proxy until the operation has its result."""

    def read(self, offset: int, length: int) -> bytes:
        """At most `length` bytes from `offset`; quick (memory, or a file in the page cache)."""


class FindStream(Protocol):
    """A C-FIND under way at the proxy: iterate for the matches, then read `result`."""

    def __aiter__(self) -> AsyncIterator[FindMatch]:
        """The matches in the order the catalogue gave them."""

    def cancel(self) -> None:
        """Ask the other end to stop; iteration then ends soon, with FE00 as the result."""

    @property
    def result(self) -> FindResult:
        """The end of it; only after iteration ended."""


class TransportClient(Protocol):
    """The proxy's end."""

    async def echo(self, request: EchoRequest) -> EchoResult:
        """Go all the way. Raises DimseFailure when no replica answers within the budget."""

    async def store(self, open_: StoreOpen, source: Source, *, deadline: float) -> StoreResult:
        """Carry one data set and bring back its result, over retries and replicas.

        `deadline` is in seconds from now; after it A700. Never raises DimseFailure: every end of
        an operation is a StoreResult.
        """

    def find(self, open_: FindOpen) -> FindStream:
        """Start one query. Iterating never raises DimseFailure: the failure is the result."""


class MatchSink(Protocol):
    """Where `Operations.find` puts its matches."""

    @property
    def cancelled(self) -> bool:
        """Whether nobody wants more: C-CANCEL came, or the proxy is gone."""

    async def send(self, match: FindMatch) -> None:
        """Send one match; waits while the proxy has granted no credit."""


class Operations(Protocol):
    """The ingestion service's end: the verbs behind the transport.

    A DimseFailure raised by any of them becomes the operation's result; any other exception is
    logged and becomes 0110 with a comment that says no more than "internal error".
    """

    async def echo(self, request: EchoRequest) -> EchoResult:
        """Look at everything behind this replica."""

    async def already_stored(self, open_: StoreOpen) -> StoreResult | None:
        """The result at once when the announced digest is stored and its event accepted."""

    async def store(self, open_: StoreOpen, chunks: AsyncIterator[bytes]) -> StoreResult:
        """Store one data set; taking a chunk from `chunks` gives the sender new credit.

        `chunks` raises DimseFailure when the transfer is broken off (lease run out, ABORT) or its
        size or digest is not what was announced: nothing of it may then become visible. Success
        without having read `chunks` to their end is believed only of a `duplicate`.
        """

    async def find(self, open_: FindOpen, sink: MatchSink) -> FindResult:
        """Answer one query; looks at `answering.cancelled` between matches."""
