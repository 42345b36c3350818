import asyncio
import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import Unavailable
from dimse_ingestion.outbox import dead_letters, recovery
from dimse_ingestion.outbox.folders import Folders
from dimse_ingestion.outbox.instance_index import fingerprint
from dimse_ingestion.outbox.records import Damage, Record, scan
from dimse_ingestion.proxy import outbox_service
from dimse_ingestion.proxy.outbox_service import OutboxService
from dimse_ingestion.proxy.spooled_client import SpooledClient
from dimse_ingestion.settings import ConfigurationMistake
from dimse_ingestion.transport.protocol.messages import StoreResult
from tests.unit.outbox.data_sets import Content, content
from tests.unit.proxy.fakes import FakeRequester, proxy_settings
from tests.unit.proxy.test_forwarder import store_open

AWAY = StoreResult(status=Status.OUT_OF_RESOURCES, comment="No replica", transient=True)


@dataclass
class Upstream:
    requester: FakeRequester = field(default_factory=FakeRequester)
    problem: str = ""
    callbacks: list[Callable[[bool], None]] = field(default_factory=list)

    def transport_problem(self) -> str:
        return self.problem

    def rate(self) -> float | None:
        return None

    def on_connection_change(self, changed: Callable[[bool], None]) -> None:
        self.callbacks.append(changed)


def service(folder: Path, upstream: Upstream, worker: int = 1, **changed: object) -> OutboxService:
    settings = proxy_settings(**({"spool_directory": folder} | changed))
    return OutboxService(settings, upstream, worker)


async def store(outbox: OutboxService, number: int) -> StoreResult:
    source = Content(content(number))
    return await outbox.client.store(store_open(number), source, deadline=1.0)


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not is_so():  # noqa: ASYNC110 - no event says it
            await asyncio.sleep(0.005)


async def spool_without_a_connection(folder: Path, worker: int, **changed: object) -> None:
    upstream = Upstream(problem="NATS is not reached.")
    spooled = service(folder, upstream, worker, acknowledge="spooled", **changed)
    async with spooled.running():
        assert (await store(spooled, worker)).status == 0
    assert upstream.requester.carried == []


async def test_by_default_there_is_no_outbox_and_stores_go_through(tmp_path: Path) -> None:
    upstream = Upstream()
    stored = service(tmp_path, upstream)
    assert stored.client is upstream.requester
    async with stored.running():
        assert (stored.problem, stored.describe_backlog()) == ("", "")
    assert not await asyncio.to_thread(os.listdir, tmp_path)


async def test_spooled_answers_without_a_connection_and_says_what_waits(tmp_path: Path) -> None:
    upstream = Upstream(problem="NATS is not reached.")
    spooled = service(tmp_path, upstream, acknowledge="spooled")
    assert isinstance(spooled.client, SpooledClient)
    assert spooled.problem.startswith("The spool of an earlier run is being read: recovering 0 of")
    async with spooled.running():
        assert spooled.problem == ""
        assert (await store(spooled, 1)).status == 0
        text = spooled.describe_backlog()
        assert text.startswith("1 data sets (300 bytes) wait, the oldest for ")
        assert text.endswith(": NATS is not reached.")
        upstream.problem = ""
        for changed in upstream.callbacks:
            changed(True)
        await until(lambda: spooled.describe_backlog() == "")
    assert upstream.requester.carried == [content(1)]


async def test_the_reason_of_the_last_failure_is_said(tmp_path: Path) -> None:
    upstream = Upstream(FakeRequester(store_result=AWAY))
    spooled = service(tmp_path, upstream, acknowledge="spooled")
    async with spooled.running():
        await store(spooled, 1)
        await until(lambda: spooled.describe_backlog().endswith(": A700H No replica"))


async def test_what_is_left_is_forwarded_with_stored_too(tmp_path: Path) -> None:
    await spool_without_a_connection(tmp_path, 1)
    upstream = Upstream()
    stored = service(tmp_path, upstream)
    assert stored.client is upstream.requester
    async with stored.running():
        await until(lambda: upstream.requester.carried == [content(1)])


async def test_dead_letters_are_counted_and_retried_with_stored_too(tmp_path: Path) -> None:
    upstream = Upstream()
    upstream.requester.store_result = StoreResult(status=Status.CANNOT_UNDERSTAND)
    before = dead_letter_count()
    spooled = service(tmp_path, upstream, acknowledge="spooled")
    async with spooled.running():
        await store(spooled, 1)
        await until(lambda: dead_letter_count() == before + 1)
    assert dead_letter_count() == before  # the outbox may be opened again
    folders = Folders(tmp_path / "outbox")
    assert not folders.has_content()
    upstream.requester.store_result = StoreResult(status=Status.SUCCESS)
    upstream.requester.carried.clear()
    async with service(tmp_path, upstream).running():
        assert dead_letter_count() == before + 1
        dead_letters.retry(folders, folders.dead()[0])
        await until(lambda: upstream.requester.carried == [content(1)])


def dead_letter_count() -> float:
    return REGISTRY.get_sample_value("dimse_outbox_dead_letters") or 0


async def test_what_a_worker_left_is_forwarded_when_there_are_fewer(tmp_path: Path) -> None:
    for worker in (1, 2, 3):
        await spool_without_a_connection(tmp_path, worker, workers=3)
    second = Upstream()
    async with service(tmp_path, second, 2, workers=2, acknowledge="spooled").running():
        await until(lambda: second.requester.carried == [content(2)])
    first = Upstream()
    async with service(tmp_path, first, 1, workers=2, acknowledge="spooled").running():
        await until(lambda: len(first.requester.carried) == 2)
    assert sorted(first.requester.carried) == sorted([content(1), content(3)])


async def test_an_outbox_in_use_and_one_of_a_newer_release_are_mistakes(tmp_path: Path) -> None:
    async with service(tmp_path, Upstream(), acknowledge="spooled").running():
        with pytest.raises(ConfigurationMistake, match="in use by another proxy"):
            async with service(tmp_path, Upstream(), acknowledge="spooled").running():
                pass
    (tmp_path / "outbox" / "files" / "a.v2.dataset").touch()
    with pytest.raises(ConfigurationMistake, match="written by a newer release"):
        async with service(tmp_path, Upstream()).running():
            pass


async def test_a_large_outbox_is_recovered_while_the_service_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await spool_without_a_connection(tmp_path, 1)
    go_on = threading.Event()

    def slow(content: bytes, salt: int) -> Iterator[Record | Damage]:
        assert go_on.wait(60)
        return scan(content, salt)

    monkeypatch.setattr(recovery, "scan", slow)
    upstream = Upstream()
    spooled = service(tmp_path, upstream, acknowledge="spooled")
    async with spooled.running():
        reading = "The spool of an earlier run is being read: recovering 0 of 1 files."
        await until(lambda: spooled.problem == reading)
        assert spooled.describe_backlog() == reading
        assert not spooled.knows_instances
        with pytest.raises(Unavailable, match="recovering 0 of 1 files"):
            await store(spooled, 2)
        go_on.set()
        await until(lambda: upstream.requester.carried == [content(1)])
        assert (spooled.problem, spooled.knows_instances) == ("", True)
        assert (await store(spooled, 2)).status == 0


async def test_a_spool_that_can_not_be_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await spool_without_a_connection(tmp_path, 1)
    is_broken = True

    def broken(content: bytes, salt: int) -> Iterator[Record | Damage]:
        if is_broken:
            raise OSError(errno.EIO, "Input/output error")
        return scan(content, salt)

    monkeypatch.setattr(recovery, "scan", broken)
    monkeypatch.setattr(outbox_service, "_RECOVERY_PAUSE", 0.001)
    upstream = Upstream()
    spooled = service(tmp_path, upstream, acknowledge="spooled")
    async with spooled.running():
        await until(lambda: "can't be read (Input/output error)" in spooled.problem)
        is_broken = False
        await until(lambda: upstream.requester.carried == [content(1)])
        assert spooled.problem == ""


async def test_a_recovery_ends_when_the_service_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await spool_without_a_connection(tmp_path, 1)
    await asyncio.to_thread(shutil.copytree, tmp_path / "outbox", tmp_path / "copy")
    read = threading.Event()
    go_on = threading.Event()
    waits = list[bool]()

    def slow(content: bytes, salt: int) -> Iterator[Record | Damage]:
        read.set()
        waits.append(go_on.wait(60))
        return iter(())

    monkeypatch.setattr(recovery, "scan", slow)
    spooled = service(tmp_path, Upstream(), acknowledge="spooled")
    async with spooled.running():
        assert await asyncio.to_thread(read.wait, 60)
        asyncio.get_running_loop().call_later(0.05, go_on.set)
    assert waits == [True]  # the event loop ran while the thread of the recovery ended
    monkeypatch.undo()
    upstream = Upstream()
    async with service(tmp_path, upstream, acknowledge="spooled").running():
        await until(lambda: upstream.requester.carried == [content(1)])


async def test_the_instances_that_wait_are_known(tmp_path: Path) -> None:
    upstream = Upstream(problem="NATS is not reached.")
    spooled = service(tmp_path, upstream, acknowledge="spooled")
    one, two = (fingerprint(store_open(number).sop_instance_uid) for number in (1, 2))
    async with spooled.running():
        assert not spooled.has_instance(one)
        await store(spooled, 1)
        assert (spooled.has_instance(one), spooled.has_instance(two)) == (True, False)
        upstream.problem = ""
        for changed in upstream.callbacks:
            changed(True)
        await until(lambda: not spooled.has_instance(one))
    assert upstream.requester.carried == [content(1)]
