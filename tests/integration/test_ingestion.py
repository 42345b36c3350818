"""The ingestion service between a real NATS, a folder as bucket and the real catalogue (SQLite).

The transport's own requester stands for the proxy. The status for a modality is compared with what
is in the bucket and what a query finds.
"""

import asyncio
import hashlib
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prometheus_client import REGISTRY

from dimse_ingestion.catalogue import app as catalogue
from dimse_ingestion.dicom import encoder, uids
from dimse_ingestion.dicom.elements import Element, by_tag, element
from dimse_ingestion.dicom.scanner import scan
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.ingestion import app as ingestion
from dimse_ingestion.observability.probes import Health
from dimse_ingestion.settings import CatalogueSettings, IngestionSettings
from dimse_ingestion.transport.client.client import CarrierClient
from dimse_ingestion.transport.protocol.messages import (
    EchoRequest,
    FindOpen,
    FindResult,
    Origin,
    StoreOpen,
)
from dimse_ingestion.transport.protocol.subjects import Subjects
from harness.nats_server import NatsServer, nats_server
from harness.ports import free_port
from harness.s3_server import S3Server, s3_server, why_not
from harness.services import StorageSpace
from tests.nats_clients import connected_client
from tests.unit.operations.instances import (
    CT,
    ELEMENTS,
    EXPLICIT,
    announced,
    data_set,
    key_of,
    object_of,
)

ORIGIN = Origin(calling_ae_title="CT1", called_ae_title="DICOM-INGEST")
LARGE = 3 * 2**20 + 5001
LEVEL, NAME, SOP_INSTANCE_UID = 0x00080052, 0x00100010, 0x00080018


class Held:
    """A data set at the proxy; counts the bytes taken of it, and may make the taker wait."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.taken = 0
        self.on_read: Callable[[], None] = lambda: None

    def read(self, offset: int, length: int) -> bytes:
        piece = self.content[offset : offset + length]
        self.taken += len(piece)
        self.on_read()
        return piece


@dataclass
class Image:
    """A data set, and how it is announced."""

    open: StoreOpen
    held: Held

    @property
    def key(self) -> str:
        return key_of(announced(self.held.content, sop_instance=self.open.sop_instance_uid))

    @property
    def object(self) -> bytes:
        instance = announced(self.held.content, sop_instance=self.open.sop_instance_uid)
        return object_of(instance, self.held.content)


def image(number: int = 1, size: int = 1000, **changed: Any) -> Image:
    sop_instance = f"1.2.9.{number}"
    content = data_set(
        element(SOP_INSTANCE_UID, "UI", sop_instance),
        element(NAME, "PN", f"Doe^Jane{number}"),
        pixels=bytes(size),
    )
    return Image(opening(content, sop_instance, **changed), Held(content))


def opening(content: bytes, sop_instance: str, **changed: Any) -> StoreOpen:
    facts: dict[str, Any] = {
        "operation_id": str(uuid4()),
        "sop_class_uid": CT,
        "sop_instance_uid": sop_instance,
        "transfer_syntax_uid": EXPLICIT,
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "origin": ORIGIN,
    }
    return StoreOpen(**(facts | changed))


@dataclass
class System:
    """All but the proxy, each part to be started and stopped."""

    folder: Path
    nats: NatsServer
    stack: AsyncExitStack
    requester: CarrierClient
    catalogue_port: int = field(default_factory=free_port)
    running: dict[str, AsyncExitStack] = field(default_factory=dict)

    @property
    def bucket(self) -> Path:
        return self.folder / "bucket"

    @property
    def config(self) -> Path:
        return self.folder / "config"

    @property
    def objects(self) -> dict[str, bytes]:
        """Return the bucket's objects without checks and unfinished uploads."""
        root = self.bucket / "instances"
        return {
            str(path.relative_to(self.bucket)): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file()
        }

    def settings(self, replica: str = "replica-1", **changed: Any) -> IngestionSettings:
        address = f"http://127.0.0.1:{self.catalogue_port}"
        facts: dict[str, Any] = {
            "nats_url": self.nats.url,
            "provider_name": "provider",
            "bucket_config_path": self.config,
            "bucket_secret_path": self.config,
            "event_sink": f"{address}/events",
            "query_endpoint": address,
            "http_host": "127.0.0.1",
            "http_port": 0,
            "replica_id": replica,
            "drain_timeout": 10.0,
        }
        return IngestionSettings(**(facts | changed))

    async def start(self, name: str, context: Any) -> Any:
        """Open a part under a name to be stopped by."""
        self.running[name] = await self.stack.enter_async_context(AsyncExitStack())
        return await self.running[name].enter_async_context(context)

    async def stop(self, name: str) -> None:
        await self.running.pop(name).aclose()

    async def start_catalogue(self) -> None:
        settings = CatalogueSettings(
            database_url=f"sqlite:///{self.folder}/catalogue.db",  # type: ignore[arg-type] # a str is read
            http_host="127.0.0.1",
            http_port=self.catalogue_port,
        )
        await self.start("catalogue", catalogue.running(settings))

    async def start_ingestion(self, replica: str = "replica-1", **changed: Any) -> Health:
        health: Health = await self.start(
            replica, ingestion.running(self.settings(replica, **changed))
        )
        return health

    def configure_bucket(self) -> None:
        self.bucket.mkdir(exist_ok=True)
        self.config.mkdir(exist_ok=True)
        (self.config / "LOCAL_STORAGE_PATH").write_text(str(self.bucket))

    def configure_s3(self, server: S3Server, secret_key: str) -> None:
        """Use the bucket `space` of a server instead of the folder."""
        (self.config / "LOCAL_STORAGE_PATH").unlink(missing_ok=True)
        for name, value in {
            "BUCKET_NAME": "space",
            "BUCKET_HOST": server.endpoint,
            "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": secret_key,
        }.items():
            (self.config / name).write_text(value)

    async def store(self, image: Image, deadline: float = 20.0) -> Any:
        return await self.requester.store(image.open, image.held, deadline=deadline)

    async def find(
        self, level: str, *keys: Element, root: str = uids.STUDY_ROOT_FIND, cancel_after: int = 0
    ) -> tuple[list[dict[int, Element]], FindResult]:
        encoded = encoder.encode([element(LEVEL, "CS", level), *keys], EXPLICIT)
        finding = self.requester.find(
            FindOpen(
                operation_id=str(uuid4()),
                sop_class_uid=root,
                transfer_syntax_uid=EXPLICIT,
                identifier=encoded,
                origin=ORIGIN,
            )
        )
        found = []
        async for match in finding:
            found.append(by_tag(scan(match.identifier, EXPLICIT)))
            if len(found) == cancel_after:
                finding.cancel()
        return found, finding.result

    async def found_instances(self) -> list[str]:
        """Return the SOP Instance UIDs the catalogue knows of the one series that is stored."""
        study, series = ELEMENTS[0x0020000D], ELEMENTS[0x0020000E]
        found, result = await self.find("IMAGE", study, series, element(SOP_INSTANCE_UID, "UI"))
        assert result.status == Status.SUCCESS, result
        return sorted(each[SOP_INSTANCE_UID].value for each in found)


@asynccontextmanager
async def system_in(folder: Path) -> AsyncIterator[System]:
    with nats_server(folder / "nats") as server:
        async with connected_client(server.url) as link, AsyncExitStack() as stack:
            requester = CarrierClient(link, Subjects("DIMSE"), "proxy-1")
            await requester.start()
            stack.push_async_callback(requester.close)
            yield System(folder, server, stack, requester)


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    """Yield everything running and ready."""
    async with system_in(tmp_path) as made:
        made.configure_bucket()
        await made.start_catalogue()
        await is_ready(await made.start_ingestion())
        yield made


async def wait_for_problems(
    health: Health, wanted: Callable[[dict[str, str]], bool], seconds: float = 20.0
) -> dict[str, str]:
    """Return the problems once they are as wanted; fails with the last ones seen."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not wanted(found := dict(await health.problems())):
        assert loop.time() < deadline, f"last seen: {found}"
        await asyncio.sleep(0.05)
    return found


async def is_ready(health: Health) -> None:
    await wait_for_problems(health, lambda found: not found)


@pytest.mark.parametrize("size", [1000, LARGE], ids=["inline", "in a session"])
async def test_a_stored_instance_is_in_the_bucket_and_in_the_catalogue(
    system: System, size: int
) -> None:
    sent = image(size=size)
    result = await system.store(sent)
    assert (result.status, result.key, result.duplicate) == (Status.SUCCESS, sent.key, False)
    assert system.objects == {sent.key: sent.object}
    assert await system.found_instances() == ["1.2.9.1"]


async def test_the_same_again_is_success_without_a_transfer(system: System) -> None:
    first = image(size=LARGE)
    await system.store(first)
    again = image(size=LARGE)
    result = await system.store(again)
    assert (result.status, result.duplicate, again.held.taken) == (Status.SUCCESS, True, 0)
    assert list(system.objects) == [first.key]
    assert await system.found_instances() == ["1.2.9.1"]


async def test_other_bytes_under_the_same_uid_are_stored_beside_and_the_latest_answers(
    system: System,
) -> None:
    first = image(size=1000)
    other = data_set(
        element(SOP_INSTANCE_UID, "UI", "1.2.9.1"),
        element(NAME, "PN", "Roe^Richard"),
        pixels=bytes(500),
    )
    for sent in (first, Image(opening(other, "1.2.9.1"), Held(other))):
        assert (await system.store(sent)).status == Status.SUCCESS
    assert len(system.objects) == 2
    found, _ = await system.find("STUDY", element(NAME, "PN"))
    assert [each[NAME].value for each in found] == ["Roe^Richard"]


@pytest.mark.parametrize("size", [1000, LARGE], ids=["inline", "in a session"])
async def test_with_the_catalogue_down_there_is_no_success_and_the_retry_brings_it(
    system: System, size: int
) -> None:
    await system.stop("catalogue")
    sent = image(size=size)
    refused = await system.store(sent, deadline=2.0)
    assert (refused.status, refused.transient) == (Status.OUT_OF_RESOURCES, True)

    storing = asyncio.create_task(system.store(sent, deadline=40.0))
    await asyncio.sleep(0)
    await system.start_catalogue()
    result = await storing
    assert (result.status, system.objects) == (Status.SUCCESS, {sent.key: sent.object})
    assert await system.found_instances() == ["1.2.9.1"]


async def test_a_bucket_that_refuses_the_key_for_a_while_costs_no_image(
    system: System, tmp_path: Path
) -> None:
    if absent := why_not("versitygw"):
        pytest.skip(absent)
    with s3_server("versitygw", tmp_path / "s3") as server:
        server.make_bucket("space")
        system.configure_s3(server, secret_key="of-last-year")
        health = await system.start_ingestion("replica-2")
        await system.stop("replica-1")
        sent = image()
        refused = await system.store(sent, deadline=2.0)
        assert (refused.status, refused.transient) == (Status.NOT_AUTHORIZED, True)
        before = refusals()
        storing = asyncio.create_task(system.store(sent))
        await wait_for_problems(health, lambda _: refusals() > before)
        assert not storing.done()
        system.configure_s3(server, secret_key=server.secret_key)
        assert (await storing).status == Status.SUCCESS
    assert await system.found_instances() == ["1.2.9.1"]


def refusals() -> float:
    """Return how many C-STOREs a replica has ended with 0124."""
    labels = {"service": "store", "status": "0124"}
    return REGISTRY.get_sample_value("dimse_ingestion_failures_total", labels) or 0.0


async def test_many_at_once_all_arrive(system: System) -> None:
    sent = [image(number, size) for number, size in enumerate([900, 600_000, 1_100_000] * 8)]
    results = await asyncio.gather(*(system.store(each) for each in sent))
    assert {result.status for result in results} == {Status.SUCCESS}
    assert system.objects == {each.key: each.object for each in sent}
    assert len(await system.found_instances()) == len(sent)


@pytest.mark.parametrize(
    ("changed", "cut", "status"),
    [
        ({"sop_instance_uid": "1.2.8"}, 0, Status.DOES_NOT_MATCH_SOP_CLASS),
        ({"sop_class_uid": "1.2.840.10008.5.1.4.1.1.4"}, 0, Status.DOES_NOT_MATCH_SOP_CLASS),
        ({}, 1, Status.CANNOT_UNDERSTAND),
    ],
    ids=["other instance", "other class", "ends early"],
)
@pytest.mark.parametrize("size", [1000, LARGE], ids=["inline", "in a session"])
async def test_what_is_not_the_announced_instance_leaves_nothing_behind(
    system: System, changed: dict[str, str], cut: int, status: Status, size: int
) -> None:
    content = image(size=size).held.content
    content = content[: len(content) - cut]
    opened = opening(content, "1.2.9.1", **changed)
    result = await system.store(Image(opened, Held(content)))
    assert (result.status, result.transient) == (status, False)
    assert system.objects == {}
    assert not [*(system.bucket / ".uploads").glob("*")]
    assert await system.found_instances() == []


async def test_bytes_that_are_not_those_announced_leave_nothing_behind(system: System) -> None:
    sent = image(size=LARGE)
    changed = sent.held.content[:-1] + b"\x01"
    result = await system.store(Image(sent.open, Held(changed)), deadline=5.0)
    assert result.status == Status.OUT_OF_RESOURCES
    assert system.objects == {}


async def test_a_query_finds_by_wildcard_at_every_level(system: System) -> None:
    await system.store(image(1))
    study, series = ELEMENTS[0x0020000D], ELEMENTS[0x0020000E]
    patient = ELEMENTS[0x00100020]
    for level, keys in (
        ("PATIENT", [element(NAME, "PN", "DOE*")]),
        ("STUDY", [patient, element(NAME, "PN", "DOE*")]),
        ("SERIES", [patient, study, element(0x00080060, "CS")]),
        ("IMAGE", [patient, study, series, element(SOP_INSTANCE_UID, "UI")]),
    ):
        found, result = await system.find(level, *keys, root=uids.PATIENT_ROOT_FIND)
        assert (result.status, result.matches, len(found)) == (Status.SUCCESS, 1, 1), level
        assert found[0][LEVEL].value == level
        assert found[0][0x00080056].value == "UNAVAILABLE"
        assert found[0][0x00080054].value == ""


async def test_a_cancelled_query_ends_with_fe00(system: System) -> None:
    await asyncio.gather(*(system.store(image(number)) for number in range(40)))
    study, series = ELEMENTS[0x0020000D], ELEMENTS[0x0020000E]
    found, result = await system.find("IMAGE", study, series, cancel_after=1)
    assert len(found) <= 40
    assert result.status in (Status.CANCEL, Status.SUCCESS)  # all may have been on the way


async def test_a_query_with_more_matches_than_allowed_ends_with_a700(tmp_path: Path) -> None:
    async with system_in(tmp_path) as system:
        system.configure_bucket()
        await system.start_catalogue()
        await is_ready(await system.start_ingestion(maximum_matches=3))
        await asyncio.gather(*(system.store(image(number)) for number in range(5)))
        found, result = await system.find("IMAGE", ELEMENTS[0x0020000D], ELEMENTS[0x0020000E])
        assert (len(found), result.status) == (3, Status.OUT_OF_RESOURCES)
        assert "More than 3" in result.comment


async def test_a_query_at_a_wrong_level_and_one_without_a_catalogue_say_so(system: System) -> None:
    _, refused = await system.find("PATIENT")
    assert refused.status == Status.DOES_NOT_MATCH_SOP_CLASS
    await system.stop("catalogue")
    _, down = await system.find("STUDY")
    assert (down.status, "catalogue" in down.comment.lower()) == (Status.OUT_OF_RESOURCES, True)


async def test_an_echo_goes_all_the_way_and_names_what_is_down(system: System) -> None:
    request = EchoRequest(operation_id="echo", origin=ORIGIN)
    well = await system.requester.echo(request)
    assert (well.status, well.replica) == (Status.SUCCESS, "replica-1")
    await system.stop("catalogue")
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 60
    number = 0
    while (result := await queried_again(system, number := number + 1)).status == Status.SUCCESS:
        assert loop.time() < deadline, result
        await asyncio.sleep(0.05)
    assert result.status == Status.OUT_OF_RESOURCES
    assert (result.bucket, bool(result.event_sink), bool(result.catalogue)) == ("", True, True)


async def queried_again(system: System, number: int) -> Any:
    return await system.requester.echo(EchoRequest(operation_id=f"echo {number}", origin=ORIGIN))


async def test_readiness_names_what_is_missing_and_recovers_when_it_appears(tmp_path: Path) -> None:
    async with system_in(tmp_path) as system:
        health = await system.start_ingestion()
        found = await wait_for_problems(
            health, lambda found: "bucket" in found and "nats" not in found
        )
        assert f"ConfigMap {system.config}" in found["bucket"]
        assert {"event sink", "catalogue"} <= found.keys()
        sent = image()
        refused = await system.store(sent, deadline=1.0)
        assert (refused.status, refused.transient) == (Status.OUT_OF_RESOURCES, True)

        system.configure_bucket()
        await wait_for_problems(health, lambda found: found.keys() == {"event sink", "catalogue"})
        await system.start_catalogue()
        await is_ready(health)
        assert (await system.store(sent)).status == Status.SUCCESS
        assert system.objects == {sent.key: sent.object}


async def test_readiness_tells_of_a_nats_that_went_and_of_its_return(system: System) -> None:
    health = await system.start_ingestion("replica-2")
    await is_ready(health)
    system.nats.kill()
    found = await wait_for_problems(health, lambda found: "nats" in found)
    assert "NATS" in found["nats"]
    system.nats.start()
    await is_ready(health)
    assert (await system.store(image())).status == Status.SUCCESS


async def test_a_drain_lets_what_is_under_way_finish(system: System) -> None:
    sent = image(size=LARGE)
    under_way = asyncio.Event()
    sent.held.on_read = under_way.set
    storing = asyncio.create_task(system.store(sent))
    await asyncio.wait_for(under_way.wait(), 60)
    await system.stop("replica-1")
    result = await storing
    assert (result.status, system.objects) == (Status.SUCCESS, {sent.key: sent.object})


async def test_replicas_roll_over_under_load_and_no_operation_fails(system: System) -> None:
    sent = [image(number, 700_000 if number % 4 == 0 else 2000) for number in range(60)]
    waiting = list(reversed(sent))
    results = []

    async def send() -> None:
        while waiting:
            results.append(await system.store(waiting.pop()))

    async def roll() -> None:
        for generation in range(2, 5):
            await is_ready(await system.start_ingestion(f"replica-{generation}"))
            await system.stop(f"replica-{generation - 1}")

    await asyncio.gather(roll(), *(send() for _ in range(4)))
    assert {result.status for result in results} == {Status.SUCCESS}
    assert system.objects == {each.key: each.object for each in sent}
    assert len(await system.found_instances()) == len(sent)


async def test_a_catalogue_that_was_lost_is_rebuilt_from_the_bucket(system: System) -> None:
    await asyncio.gather(*(system.store(image(number, 50_000)) for number in range(12)))
    before = await system.found_instances()
    await system.stop("catalogue")
    for file in system.folder.glob("catalogue.db*"):
        file.unlink()
    await system.start_catalogue()
    for _ in range(2):
        assert "12 instances sent" in await reindexed(system)
        assert await system.found_instances() == before
    assert len(before) == 12


async def reindexed(system: System) -> str:
    """Return the output of the command, which must succeed."""
    settings = system.settings()
    environment = {
        IngestionSettings.names()[name]: str(getattr(settings, name))
        for name in (
            "nats_url",
            "provider_name",
            "bucket_config_path",
            "bucket_secret_path",
            "event_sink",
            "query_endpoint",
        )
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "dimse_ingestion",
        "reindex",
        env=dict(os.environ) | environment,
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed
    return printed.decode()


async def test_the_process_tells_why_it_is_not_ready_and_ends_well_on_sigterm(
    tmp_path: Path,
) -> None:
    with nats_server(tmp_path / "nats") as server:
        space = StorageSpace(tmp_path / "space", server.url)
        ingestion = space.ingestion()
        try:
            ingestion.start()
            status, text = await eventually_answered(
                ingestion.readiness, lambda seen: seen[0] == 503
            )
            assert status == 503
            assert "catalogue:" in text
            assert ingestion.get("/livez")[0] == 200
            assert "dimse_ingestion_stored_total" in ingestion.get("/metrics")[1]
            ended = await asyncio.to_thread(ingestion.stop)
            assert ended == 0
            assert any("Drained" in line for line in ingestion.lines())
        finally:
            space.close()


async def eventually_answered(
    probe: Callable[[], tuple[int, str]], wanted: Callable[[tuple[int, str]], bool]
) -> tuple[int, str]:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 30
    while not wanted(seen := await asyncio.to_thread(probe)):
        assert loop.time() < deadline, seen
        await asyncio.sleep(0.05)
    return seen
