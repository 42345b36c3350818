"""The requests behind C-MOVE and C-GET, mapped to operations: lists of instances, data sets."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

from dimse_ingestion.dicom.response_status import fetch_status, retrieve_status
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import Failure
from dimse_ingestion.ingestion.outcomes import record_failures, until_cancelled
from dimse_ingestion.observability import metrics
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.operations.fetch import DataSetReader, checked_key
from dimse_ingestion.operations.instance_list import InstanceLister
from dimse_ingestion.queries.contract import Located
from dimse_ingestion.storage.keys import InstanceKey
from dimse_ingestion.transport.contract import ByteSink, InstanceSink
from dimse_ingestion.transport.protocol.fetch_batch import objects_of
from dimse_ingestion.transport.protocol.messages import (
    FetchObject,
    FetchOpen,
    FetchResult,
    RetrieveInstance,
    RetrieveOpen,
    RetrieveResult,
)

_LOG = logger(__name__)
_LONGEST_KEY = 256  # characters in a log line: a key comes from the network


class RetrieveDispatch:
    """The part of `Dispatch` for retrieves."""

    def __init__(self, lister: InstanceLister, reader: DataSetReader) -> None:
        self._lister = lister
        self._reader = reader

    async def retrieve(self, open_: RetrieveOpen, sink: InstanceSink) -> RetrieveResult:
        """Send the instances that the identifier of a C-MOVE or C-GET names."""
        with record_failures("retrieve", retrieve_status):
            keys = await self._lister.parse(
                open_.identifier,
                open_.sop_class_uid,
                open_.transfer_syntax_uid,
                relational=open_.relational,
            )
            sent = 0
            async with (
                until_cancelled(sink),
                aclosing(self._lister.instances(keys, open_.maximum)) as instances,
            ):
                async for sop_class_uid, sop_instance_uid, located in instances:
                    await sink.send(_retrievable(sop_class_uid, sop_instance_uid, located))
                    sent += 1
        _LOG.info("Instances listed.", query_retrieve_level=keys.level, instances=sent)
        ended = Status.CANCEL if sink.cancelled else Status.SUCCESS
        return RetrieveResult(status=ended, instances=sent)

    async def fetch(self, open_: FetchOpen, sink: ByteSink) -> FetchResult:
        """Send the data set of one object from the open's offset on, or those of a batch."""
        with record_failures("fetch", fetch_status, object=open_.key[:_LONGEST_KEY]):
            key = checked_key(open_.key, open_.sha256)
            if open_.transfer_syntax_uid != key.transfer_syntax_uid:
                return await self._fetch_converted(open_, key, sink)
            if open_.more:
                return await self._fetch_batch(open_, sink)
            pieces = self._reader.data_set(key, open_.size, open_.offset)
            async with aclosing(pieces):
                async for piece in pieces:
                    if sink.cancelled:
                        break
                    await sink.send(piece)
                    metrics.ingestion_fetched_bytes.inc(len(piece))
        return FetchResult(status=Status.SUCCESS, size=open_.size, sha256=open_.sha256, objects=1)

    async def _fetch_batch(self, open_: FetchOpen, sink: ByteSink) -> FetchResult:
        """Send whole data sets, up to the first one that can't be read; fail if it is the first.

        All are read at once, because a bucket may take long for each.
        """
        size = sent = 0
        async with _reads_at_once(self._read_whole(each) for each in objects_of(open_)) as reads:
            for read in reads:
                try:
                    content = await read
                except Failure:
                    if not sent:
                        raise
                    break  # the proxy requests it again, and gets its failure then
                if sink.cancelled:
                    break
                await sink.send(content)
                size, sent = size + len(content), sent + 1
                metrics.ingestion_fetched_bytes.inc(len(content))
        return FetchResult(status=Status.SUCCESS, size=size, objects=sent)

    async def _read_whole(self, each: FetchObject) -> memoryview:
        return await self._reader.whole(checked_key(each.key, each.sha256), each.size)

    async def _fetch_converted(
        self, open_: FetchOpen, key: InstanceKey, sink: ByteSink
    ) -> FetchResult:
        """Send a data set in another transfer syntax; bytes before the offset are only counted."""
        digest, size = hashlib.sha256(), 0
        pieces = self._reader.converted(key, open_.size, open_.transfer_syntax_uid)
        async with until_cancelled(sink), aclosing(pieces):
            async for piece in pieces:
                digest.update(piece)
                wanted = piece[max(0, open_.offset - size) :]
                size += len(piece)
                if wanted:
                    await sink.send(wanted)
                    metrics.ingestion_fetched_bytes.inc(len(wanted))
        return FetchResult(status=Status.SUCCESS, size=size, sha256=digest.hexdigest(), objects=1)


@asynccontextmanager
async def _reads_at_once(
    reads: Iterable[Coroutine[Any, Any, memoryview]],
) -> AsyncIterator[Sequence[asyncio.Task[memoryview]]]:
    """Begin all reads at once; end those at the end of the block that nobody has waited for."""
    tasks = [asyncio.create_task(each) for each in reads]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _retrievable(sop_class_uid: str, sop_instance_uid: str, located: Located) -> RetrieveInstance:
    return RetrieveInstance(
        sop_class_uid=sop_class_uid,
        sop_instance_uid=sop_instance_uid,
        transfer_syntax_uid=located.transfer_syntax_uid,
        key=located.object_name,
        size=located.size,
        sha256=located.sha256,
    )
