"""A storage space with DICOMweb in this process: SQLite, a folder as bucket, real HTTP."""

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydicom import dcmread

from dimse_ingestion.catalogue import app as catalogue
from dimse_ingestion.dicomweb import app as dicomweb
from dimse_ingestion.events.contract import ImageStoredEvent, InstanceOrigin
from dimse_ingestion.operations.composition import Backends, open_backends, storage_space
from dimse_ingestion.operations.event_builder import Instance
from dimse_ingestion.operations.store import Stored, Storer
from dimse_ingestion.settings import CatalogueSettings, DicomwebSettings
from tests.instances import PROVIDER
from tests.storable import data_set_of


@dataclass(frozen=True)
class Space:
    """A running storage space: its URL, a client, and direct access to its backends."""

    address: str
    client: httpx2.AsyncClient
    backends: Backends
    settings: DicomwebSettings

    @property
    def base(self) -> str:
        """Return the URL of the services."""
        return f"{self.address}/dicomweb"

    async def add_events(self, events: Iterable[ImageStoredEvent]) -> None:
        """Add instances to the catalogue that are in no bucket."""
        for each in events:
            await self.backends.sink.accept(each)

    async def store(self, path: Path, origin: InstanceOrigin | None = None) -> Stored:
        """Store a file as the ingestion service does."""
        head = dcmread(path, stop_before_pixels=True)
        data_set = data_set_of(path)
        instance = Instance(
            sop_class_uid=str(head.SOPClassUID),
            sop_instance_uid=str(head.SOPInstanceUID),
            transfer_syntax_uid=str(head.file_meta.TransferSyntaxUID),
            size=len(data_set),
            sha256=sha256(data_set).hexdigest(),
            origin=origin,
        )

        async def chunks() -> AsyncIterator[bytes]:
            yield data_set

        storing = Storer(self.backends.bucket, self.backends.sink, storage_space(self.settings))
        return await storing.store(path.name, instance, chunks())


@asynccontextmanager
async def space_in(folder: Path, policy: str = "latest", **more: Any) -> AsyncIterator[Space]:
    """Run a storage space in a folder; `policy` is for duplicates, `more` are settings."""
    config, bucket = folder / "config", folder / "bucket"
    config.mkdir(parents=True)
    bucket.mkdir()
    (config / "LOCAL_STORAGE_PATH").write_text(str(bucket))
    own: dict[str, Any] = {"http_host": "127.0.0.1", "http_port": 0}
    async with AsyncExitStack() as stack:
        database = CatalogueSettings.load(
            database_url=f"sqlite:///{folder}/catalogue.db", duplicates=policy, **own
        )
        port = await stack.enter_async_context(catalogue.running(database))
        settings = DicomwebSettings.load(
            **own,
            provider_name=PROVIDER,
            bucket_config_path=config,
            bucket_secret_path=config,
            event_sink=f"http://127.0.0.1:{port}/events",
            query_endpoint=f"http://127.0.0.1:{port}",
            dicomweb_host="127.0.0.1",
            dicomweb_port=0,
            spool_directory=folder / "spool",
            **more,
        )
        backends = await stack.enter_async_context(open_backends(settings))
        server = await stack.enter_async_context(dicomweb.running(settings))
        while await server.health.problems():
            pass
        address = f"http://127.0.0.1:{server.port}"
        client = httpx2.AsyncClient(base_url=f"{address}/dicomweb", timeout=110)
        yield Space(address, await stack.enter_async_context(client), backends, settings)


@pytest.fixture
async def space(tmp_path: Path) -> AsyncIterator[Space]:
    async with space_in(tmp_path / "space") as space:
        yield space
