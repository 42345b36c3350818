"""The upper layer and the transport as the bridge sees them, in memory."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import Failure
from dimse_ingestion.settings import ProxySettings
from dimse_ingestion.transport.contract import Source
from dimse_ingestion.transport.protocol.fetch_batch import objects_of
from dimse_ingestion.transport.protocol.messages import (
    CommitOpen,
    CommitResult,
    EchoRequest,
    EchoResult,
    FetchObject,
    FetchOpen,
    FindMatch,
    FindOpen,
    FindResult,
    RetrieveInstance,
    RetrieveOpen,
    RetrieveResult,
    StoreOpen,
    StoreResult,
)
from dimse_ingestion.upper_layer.services import (
    AssociationHandle,
    AssociationRequest,
    Command,
    DataSetSink,
    PresentationContext,
    SubOperationCounts,
)
from tests.silent_association import SilentAssociation

CT = "1.2.840.10008.5.1.4.1.1.2"
STUDY_ROOT = "1.2.840.10008.5.1.4.1.2.2.1"
VERIFICATION = "1.2.840.10008.1.1"
EXPLICIT = "1.2.840.10008.1.2.1"


def association_request(**changed: object) -> AssociationRequest:
    facts: dict[str, object] = {
        "association_id": "a1",
        "called_ae_title": "DICOM-INGEST",
        "calling_ae_title": "CT1",
        "peer_address": "10.1.2.3",
        "peer_port": 1042,
        "implementation_class_uid": "1.2.3",
        "implementation_version_name": "CT_5",
        "proposed": {1: (CT, (EXPLICIT,))},
    }
    return AssociationRequest(**(facts | changed))  # type: ignore[arg-type] # by name


def proxy_settings(**changed: object) -> ProxySettings:
    return ProxySettings(nats_url="nats:4222", **changed)  # type: ignore[arg-type] # by name


@dataclass
class Association(SilentAssociation):
    request: AssociationRequest = field(default_factory=association_request)
    aborted: str = ""

    def abort(self, explanation: str) -> None:
        self.aborted = explanation


@dataclass
class FakeMessage:
    context: PresentationContext
    command: Command
    data_set: DataSetSink | None = None
    association: AssociationHandle = field(default_factory=Association)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    responses: list[tuple[Status, str, bytes | None]] = field(default_factory=list)

    counts: list[SubOperationCounts | None] = field(default_factory=list)
    """The numbers of sub-operations of each response."""

    cancel_after: int = -1
    """The responses after which the modality cancels."""

    async def respond(
        self,
        status: Status,
        *,
        comment: str = "",
        identifier: bytes | None = None,
        sub_operations: SubOperationCounts | None = None,
    ) -> None:
        self.responses.append((status, comment, identifier))
        self.counts.append(sub_operations)
        if len(self.responses) == self.cancel_after:
            self.cancelled.set()
        await asyncio.sleep(0)

    @property
    def statuses(self) -> list[Status]:
        return [status for status, _, _ in self.responses]


class FakeFinding:
    def __init__(self, matches: list[FindMatch], result: FindResult, *, endless: bool) -> None:
        self._matches, self._result, self._endless = matches, result, endless
        self._cancelled = asyncio.Event()
        self.given = 0

    async def __aiter__(self) -> AsyncIterator[FindMatch]:
        for match in self._matches:
            if self._cancelled.is_set():
                return
            self.given += 1
            yield match
        if self._endless:
            await self._cancelled.wait()

    def cancel(self) -> None:
        self._cancelled.set()

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    @property
    def result(self) -> FindResult:
        return self._result


class FakeFetch:
    """A `FetchStream` in memory, in pieces or as a whole; raises `failure` after its content."""

    def __init__(
        self,
        content: bytes,
        failure: Failure | None = None,
        piece: int = 1000,
        *,
        is_whole: bool = False,
    ) -> None:
        self._content, self._failure, self._piece = content, failure, piece
        self._is_whole = is_whole
        self.closed = False

    async def wait_until_buffered(self) -> None:
        await asyncio.sleep(0)
        if self._failure and not self._content:
            raise self._failure

    def take_whole(self) -> bytes | None:
        return None if self._failure or not self._is_whole else self._content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._content), self._piece):
            await asyncio.sleep(0)
            yield self._content[start : start + self._piece]
        if self._failure:
            raise self._failure

    async def close(self) -> None:
        self.closed = True


@dataclass
class FakeRequester:
    """Return the configured results, and record the requests."""

    echo_result: EchoResult | Failure = field(
        default_factory=lambda: EchoResult(status=0, replica="r1")
    )
    store_result: StoreResult = field(default_factory=lambda: StoreResult(status=0))
    matches: list[FindMatch] = field(default_factory=list)
    find_result: FindResult = field(default_factory=lambda: FindResult(status=0))
    endless: bool = False
    commit_results: list[CommitResult | Failure] = field(default_factory=list)
    """The results of the first checks, one each; then every instance is stored."""
    opens: list[StoreOpen | FindOpen | EchoRequest | CommitOpen] = field(default_factory=list)
    carried: list[bytes] = field(default_factory=list)
    deadlines: list[float] = field(default_factory=list)
    findings: list[FakeFinding] = field(default_factory=list)
    find_requested: asyncio.Event = field(default_factory=asyncio.Event)
    retrieve_result: RetrieveResult = field(default_factory=lambda: RetrieveResult(status=0))
    instances: list[RetrieveInstance] = field(default_factory=list)
    contents: dict[str, bytes | Failure] = field(default_factory=dict)
    """What a fetch of a key delivers, or how it fails before its first byte."""
    broken: dict[str, Failure] = field(default_factory=dict)
    """How the fetch of a key fails after its content."""
    delivers_whole: bool = False
    """Whether data sets are in memory as a whole before they are sent."""
    retrieves: list[RetrieveOpen] = field(default_factory=list)
    fetches: list[FetchOpen] = field(default_factory=list)
    streams: list[FakeFetch] = field(default_factory=list)

    async def echo(self, request: EchoRequest) -> EchoResult:
        self.opens.append(request)
        if isinstance(self.echo_result, Failure):
            raise self.echo_result
        return self.echo_result

    async def store(self, open_: StoreOpen, source: Source, *, deadline: float) -> StoreResult:
        self.opens.append(open_)
        self.deadlines.append(deadline)
        self.carried.append(source.read(0, open_.size + 1))
        return self.store_result

    async def commit(self, open_: CommitOpen) -> CommitResult:
        self.opens.append(open_)
        everything = CommitResult(status=0, reasons=(0,) * len(open_.references))
        result = self.commit_results.pop(0) if self.commit_results else everything
        if isinstance(result, Failure):
            raise result
        return result

    def find(self, open_: FindOpen) -> FakeFinding:
        self.opens.append(open_)
        finding = FakeFinding(self.matches, self.find_result, endless=self.endless)
        self.findings.append(finding)
        self.find_requested.set()
        return finding

    async def retrieve(self, open_: RetrieveOpen) -> tuple[RetrieveResult, list[RetrieveInstance]]:
        self.retrieves.append(open_)
        return self.retrieve_result, self.instances

    def fetch(self, open_: FetchOpen, *, stored: bool, window: int = 0) -> FakeFetch:
        self.fetches.append(open_)
        return self._stream(open_)

    def fetch_batch(self, open_: FetchOpen) -> list[FakeFetch]:
        self.fetches.append(open_)
        return [self._stream(each) for each in objects_of(open_)]

    def _stream(self, open_: FetchOpen | FetchObject) -> FakeFetch:
        content = self.contents[open_.key]
        if isinstance(content, Failure):
            stream = FakeFetch(b"", content)
        else:
            failure = self.broken.get(open_.key)
            stream = FakeFetch(content, failure, is_whole=self.delivers_whole)
        self.streams.append(stream)
        return stream
