"""Several storage spaces on one port: which one an association belongs to, and what it can use."""

import asyncio
import io
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import Unavailable
from dimse_ingestion.proxy.service import ProxyDependencies, RunningProxy, open_proxy
from dimse_ingestion.proxy.space import SpaceDependencies
from dimse_ingestion.settings import ProxySettings
from dimse_ingestion.settings.spaces import ProxySpace
from dimse_ingestion.transport.protocol.messages import StoreOpen
from dimse_ingestion.upper_layer.services import (
    Acceptance,
    Command,
    CommandField,
    PresentationContext,
    Rejection,
    RejectReason,
    RejectResult,
)
from tests.log_lines import lines
from tests.unit.proxy.fakes import (
    CT,
    EXPLICIT,
    Association,
    FakeMessage,
    FakeRequester,
    association_request,
    proxy_settings,
)
from tests.unit.proxy.test_service import FakeListener

__all__ = ["lines"]
CONTEXT = PresentationContext(1, CT, EXPLICIT)
STORE = Command(
    CommandField.C_STORE_RQ,
    7,
    affected_sop_class_uid=CT,
    affected_sop_instance_uid="1.2.3",
    has_data_set=True,
)


class TwoSpaces:
    """A proxy with the spaces RADIOLOGY and CARDIOLOGY, between fakes."""

    def __init__(self) -> None:
        self.listener = FakeListener()
        self.requesters = {"RADIOLOGY": FakeRequester(), "CARDIOLOGY": FakeRequester()}
        self.problems = {"RADIOLOGY": "", "CARDIOLOGY": ""}

    @asynccontextmanager
    async def running(self, directory: Path, **changed: object) -> AsyncIterator[RunningProxy]:
        own: dict[str, object] = {
            "spool_directory": directory,
            "http_host": "127.0.0.1",
            "http_port": 0,
            "spaces": tuple(
                ProxySpace(ae_title=title, nats_subject_root=title[:3]) for title in self.requesters
            ),
        }
        dependencies = ProxyDependencies(self.listener.serving, self._connect)
        async with open_proxy(proxy_settings(**own | changed), dependencies) as proxy:
            for each in proxy.spaces:
                await each.path.probe()
            yield proxy

    def _connect(self, settings: ProxySettings) -> "nullcontext[SpaceDependencies]":
        title = settings.ae_title
        return nullcontext(SpaceDependencies(self.requesters[title], lambda: self.problems[title]))

    async def associate(self, number: int, title: str) -> Acceptance | Rejection:
        assert self.listener.services is not None
        return await self.listener.services.associate(association(number, title).request)

    async def arrived(self, number: int, title: str, content: bytes = b"data set") -> FakeMessage:
        """Return a C-STORE on an open association whose data set has arrived."""
        assert self.listener.services is not None
        message = FakeMessage(CONTEXT, STORE, association=association(number, title))
        sink = self.listener.services.open_data_set(message.association, CONTEXT, STORE)
        message.data_set = sink
        if written := sink.write(content):
            await written
        return message

    async def store(self, number: int, title: str, content: bytes = b"data set") -> list[Status]:
        """Send one instance on an open association; return the statuses of the answers."""
        message = await self.arrived(number, title, content)
        await self.perform(message)
        return message.statuses

    async def perform(self, message: FakeMessage) -> None:
        assert self.listener.services is not None
        await self.listener.services.perform(message)

    def end(self, number: int, title: str) -> None:
        assert self.listener.services is not None
        self.listener.services.association_ended(association(number, title), "released")


def association(number: int, title: str) -> Association:
    return Association(association_request(association_id=f"a{number}", called_ae_title=title))


@pytest.fixture
def two() -> TwoSpaces:
    return TwoSpaces()


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0


async def test_the_called_ae_title_chooses_the_space(two: TwoSpaces, tmp_path: Path) -> None:
    async with two.running(tmp_path):
        for number, title in enumerate(two.requesters):
            assert isinstance(await two.associate(number, title), Acceptance)
            assert await two.store(number, title, title.encode()) == [Status.SUCCESS]
    for title, requester in two.requesters.items():
        assert requester.carried == [title.encode()]
        (open_,) = (each for each in requester.opens if isinstance(each, StoreOpen))
        assert open_.origin.called_ae_title == title


async def test_an_unknown_called_ae_title_is_rejected_and_counted(
    two: TwoSpaces, tmp_path: Path
) -> None:
    labels = {"outcome": "called_ae_title_not_recognized", "space": ""}
    before = value("dimse_proxy_associations_asked_total", **labels)
    async with two.running(tmp_path):
        rejection = await two.associate(1, "ONCOLOGY")
    assert isinstance(rejection, Rejection)
    assert rejection.result is RejectResult.PERMANENT
    assert rejection.reason is RejectReason.CALLED_AE_TITLE_NOT_RECOGNIZED
    assert "RADIOLOGY, CARDIOLOGY" in rejection.explanation
    assert value("dimse_proxy_associations_asked_total", **labels) == before + 1


async def test_a_space_without_a_free_association_leaves_the_others_theirs(
    two: TwoSpaces, tmp_path: Path
) -> None:
    async with two.running(tmp_path, maximum_associations=4):
        decisions = [await two.associate(number, "RADIOLOGY") for number in range(3)]
        assert isinstance(decisions[1], Acceptance)
        assert isinstance(decisions[2], Rejection)
        assert decisions[2].reason is RejectReason.LOCAL_LIMIT_EXCEEDED
        assert isinstance(await two.associate(4, "CARDIOLOGY"), Acceptance)
        two.end(0, "RADIOLOGY")
        assert isinstance(await two.associate(5, "RADIOLOGY"), Acceptance)


async def test_a_full_spool_of_one_space_leaves_the_others_theirs(
    two: TwoSpaces, tmp_path: Path
) -> None:
    async with two.running(tmp_path, spool_memory=0, spool_limit=2000):
        for number, title in enumerate(two.requesters):
            await two.associate(number, title)
        assert await two.store(0, "RADIOLOGY", bytes(1001)) == [Status.OUT_OF_RESOURCES]
        assert await two.store(1, "CARDIOLOGY", bytes(1000)) == [Status.SUCCESS]


async def test_data_sets_of_each_space_are_in_a_folder_of_its_own(
    two: TwoSpaces, tmp_path: Path
) -> None:
    async with two.running(tmp_path):
        folders = set(os.listdir(tmp_path))  # noqa: PTH208 - names alone
        assert folders == {"space-CARDIOLOGY", "space-RADIOLOGY"}


async def test_readiness_names_the_space_that_is_not_reachable(
    two: TwoSpaces, tmp_path: Path
) -> None:
    two.requesters["RADIOLOGY"].echo_result = Unavailable("The bucket is not reached")
    async with two.running(tmp_path) as proxy:
        assert await proxy.health.problems() == {}
        assert await proxy.health.notes() == {"space RADIOLOGY": "path: The bucket is not reached"}
        assert value("dimse_proxy_space_ready", space="RADIOLOGY") == 0
        assert value("dimse_proxy_space_ready", space="CARDIOLOGY") == 1
        two.problems["CARDIOLOGY"] = "NATS is not reached"
        assert await proxy.health.problems() == {"spaces": "No storage space is ready."}


async def test_a_drain_rejects_associations_of_every_space(two: TwoSpaces, tmp_path: Path) -> None:
    two.listener.let_go.clear()

    async def run_and_stop() -> None:
        async with two.running(tmp_path):
            pass

    async with asyncio.timeout(60):
        stopping = asyncio.create_task(run_and_stop())
        while not two.listener.drain:  # noqa: ASYNC110 - set by the listener's stop
            await asyncio.sleep(0)
        for number, title in enumerate(two.requesters):
            rejection = await two.associate(number, title)
            assert isinstance(rejection, Rejection)
            assert rejection.result is RejectResult.TRANSIENT
        two.listener.let_go.set()
        await stopping


async def test_log_lines_and_metrics_have_the_space(
    two: TwoSpaces, tmp_path: Path, lines: io.StringIO
) -> None:
    labels = {"service": "store", "status": "0000", "space": "RADIOLOGY"}
    before = value("dimse_proxy_operations_total", **labels)
    async with two.running(tmp_path):
        await two.associate(1, "RADIOLOGY")
        await two.store(1, "RADIOLOGY")
        two.end(1, "RADIOLOGY")
    assert value("dimse_proxy_operations_total", **labels) == before + 1
    logged: list[dict[str, Any]] = [json.loads(each) for each in lines.getvalue().splitlines()]
    by_event = {line["event"]: line for line in logged}
    for event in ("Association accepted.", "C-STORE done.", "Association ended."):
        assert by_event[event]["space"] == "RADIOLOGY"


async def test_a_request_after_the_end_of_its_association_is_dropped(
    two: TwoSpaces, tmp_path: Path
) -> None:
    async with two.running(tmp_path):
        await two.associate(1, "RADIOLOGY")
        message = await two.arrived(1, "RADIOLOGY")
        two.end(1, "RADIOLOGY")
        await two.perform(message)
        assert message.responses == []
        assert value("dimse_spool_memory_bytes", space="RADIOLOGY") == 0
        assert not two.requesters["RADIOLOGY"].carried
