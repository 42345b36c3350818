import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dimse_ingestion.dicom.status import Status
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
    assert spooled.problem == "The spool of an earlier run is being read."
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


async def test_an_instance_may_be_pending_while_anything_older_waits(tmp_path: Path) -> None:
    upstream = Upstream(problem="NATS is not reached.")
    spooled = service(tmp_path, upstream, acknowledge="spooled")
    async with spooled.running():
        before = time.time() - 1
        assert not spooled.is_pending("1.2.3", time.time())
        await store(spooled, 1)
        assert spooled.is_pending("1.2.3", time.time())
        assert not spooled.is_pending("1.2.3", before)
        upstream.problem = ""
        for changed in upstream.callbacks:
            changed(True)
        await until(lambda: not spooled.is_pending("1.2.3", time.time()))
    assert upstream.requester.carried == [content(1)]
