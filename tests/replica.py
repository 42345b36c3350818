"""A replica in a process of its own, for tests that kill it; it stores to and reads from a folder.

`python -m tests.replica URL ROOT REPLICA FOLDER [SECONDS_PER_CHUNK]`; prints `ready`, drains at
SIGTERM. An object's name is its digest, and it has that name only once it is whole.
"""

import asyncio
import hashlib
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from dimse_ingestion.observability import event_loop
from dimse_ingestion.observability.logging import configure
from dimse_ingestion.transport.contract import ByteSink, InstanceSink, MatchSink
from dimse_ingestion.transport.nats.client import NatsClient
from dimse_ingestion.transport.nats.options import NatsOptions
from dimse_ingestion.transport.protocol.fetch_batch import objects_of
from dimse_ingestion.transport.protocol.messages import (
    CommitOpen,
    CommitResult,
    EchoRequest,
    EchoResult,
    FetchOpen,
    FetchResult,
    FindOpen,
    FindResult,
    RetrieveInstance,
    RetrieveOpen,
    RetrieveResult,
    StoreOpen,
    StoreResult,
)
from dimse_ingestion.transport.protocol.subjects import Subjects, ingestion_permissions
from dimse_ingestion.transport.server.server import TransportServer

_PIECE = 256 * 1024


class Folder:
    """`Operations` that store to a folder; an incomplete file is `<digest>.<replica>.part`."""

    def __init__(self, folder: Path, replica: str, seconds_per_chunk: float) -> None:
        self._folder, self._replica, self._pause = folder, replica, seconds_per_chunk

    async def echo(self, request: EchoRequest) -> EchoResult:
        return EchoResult(status=0, replica=self._replica)

    async def already_stored(self, open_: StoreOpen) -> StoreResult | None:
        return None

    async def store(self, open_: StoreOpen, chunks: AsyncIterator[bytes]) -> StoreResult:
        digest, size = hashlib.sha256(), 0
        part = self._folder / f"{open_.sha256}.{self._replica}.part"
        with part.open("wb", buffering=0) as file:
            async for chunk in chunks:
                await asyncio.to_thread(file.write, chunk)
                await asyncio.to_thread(digest.update, chunk)
                size += len(chunk)
                await asyncio.sleep(self._pause)
        part.rename(self._folder / digest.hexdigest())
        return StoreResult(status=0, key=digest.hexdigest(), size=size, sha256=open_.sha256)

    async def store_inline(self, open_: StoreOpen, chunks: AsyncIterator[bytes]) -> StoreResult:
        return await self.already_stored(open_) or await self.store(open_, chunks)

    async def find(self, open_: FindOpen, sink: MatchSink) -> FindResult:
        return FindResult(status=0)

    async def commit(self, open_: CommitOpen) -> CommitResult:
        return CommitResult(status=0, reasons=(0,) * len(open_.references))

    async def retrieve(self, open_: RetrieveOpen, sink: InstanceSink) -> RetrieveResult:
        """List every object of the folder as a CT image."""
        paths = sorted(self._folder.glob("?" * 64))
        for number, path in enumerate(paths):
            await sink.send(
                RetrieveInstance(
                    sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
                    sop_instance_uid=f"1.2.3.{number}",
                    transfer_syntax_uid="1.2.840.10008.1.2.1",
                    key=path.name,
                    size=path.stat().st_size,
                    sha256=path.name,
                )
            )
        return RetrieveResult(status=0, instances=len(paths))

    async def fetch(self, open_: FetchOpen, sink: ByteSink) -> FetchResult:
        offset, objects = open_.offset, objects_of(open_)
        for each in objects:
            with (self._folder / each.sha256).open("rb") as file:
                file.seek(offset)
                while not sink.cancelled and (piece := file.read(_PIECE)):
                    await sink.send(piece)
                    await asyncio.sleep(self._pause)
        # the mark tells the test that this replica sent the end, and from which byte on
        (self._folder / f"{offset}.{self._replica}.sent").touch()
        size = sum(each.size for each in objects)
        return FetchResult(status=0, size=size, sha256=open_.sha256, objects=len(objects))


async def main(url: str, root: str, replica: str, folder: str, pause: str = "0") -> None:
    """Serve until SIGTERM."""
    configure("replica", "warning")
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    required_permissions = ingestion_permissions(root)
    client = NatsClient(
        NatsOptions(
            addresses=url,
            name=replica,
            required_permissions=required_permissions,
            ping_interval=1,
            max_backoff=0.2,
        )
    )
    await client.start()
    await client.wait_connected(10)
    operations = Folder(Path(folder), replica, float(pause))
    responder = TransportServer(client, Subjects(root), replica, operations)
    await responder.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await stop.wait()
    await responder.drain(30)
    await responder.close()
    await client.close()


if __name__ == "__main__":
    event_loop.run(main(*sys.argv[1:]))
