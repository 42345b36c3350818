"""A reload changes what new associations may do, and drops no open one."""

import asyncio
import io
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.outbox import dead_letters
from dimse_ingestion.outbox.browse import items
from dimse_ingestion.outbox.folders import Folders
from dimse_ingestion.proxy import open_spaces, unused_folders
from dimse_ingestion.proxy.commitment import record_file
from dimse_ingestion.proxy.commitment.reports import Report, ReportSender
from dimse_ingestion.proxy.commitment.service import NoReports
from dimse_ingestion.proxy.reload import Reloader
from dimse_ingestion.proxy.service import ProxyDependencies, RunningProxy, open_proxy
from dimse_ingestion.proxy.space import SpaceDependencies
from dimse_ingestion.settings import ConfigurationMistake, ProxySettings
from dimse_ingestion.transport.protocol.messages import StoreResult
from dimse_ingestion.upper_layer.services import Acceptance, Rejection, RejectReason
from tests.log_lines import lines
from tests.unit.proxy.commitment_examples import FakeSender, accepted
from tests.unit.proxy.fakes import FakeRequester
from tests.unit.proxy.test_spaces import TwoSpaces

__all__ = ["lines"]
BOTH = """spaces:
- {aeTitle: RADIOLOGY, natsSubjectRoot: RAD}
- {aeTitle: CARDIOLOGY, natsSubjectRoot: CAR}
"""
RADIOLOGY_ALONE = "spaces: [{aeTitle: RADIOLOGY, natsSubjectRoot: RAD}]\n"


class Reloadable(TwoSpaces):
    """A proxy with a settings file, which `write` replaces."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.file = folder / "proxy.yaml"
        self.closed: list[str] = []
        self.certificates: list[ProxySettings] = []
        self.mistake = ""
        self.sender: ReportSender = NoReports()

    def write(self, text: str) -> None:
        own = f"natsUrl: nats:4222\nspoolDirectory: {self.folder}/spool\n"
        self.file.write_text(f"{own}httpHost: 127.0.0.1\nhttpPort: 0\n{text}")

    @asynccontextmanager
    async def started(self, text: str) -> AsyncIterator[tuple[RunningProxy, Reloader]]:
        self.write(text)
        settings = ProxySettings.load(self.file)
        dependencies = ProxyDependencies(self.listener.serving, self._connection)
        async with open_proxy(settings, dependencies) as proxy:
            yield proxy, Reloader(settings, proxy.change, self._prepare, interval=0.01)

    @asynccontextmanager
    async def _connection(self, settings: ProxySettings) -> AsyncIterator[SpaceDependencies]:
        requester = self.requesters.setdefault(settings.ae_title, FakeRequester())
        try:
            yield SpaceDependencies(requester, lambda: "", self.sender)
        finally:
            self.closed.append(settings.ae_title)

    def _prepare(self, settings: ProxySettings) -> Callable[[], None]:
        if self.mistake:
            raise ConfigurationMistake([self.mistake])
        return lambda: self.certificates.append(settings)


@pytest.fixture
def proxy(tmp_path: Path) -> Reloadable:
    return Reloadable(tmp_path)


def value(name: str) -> float | None:
    return REGISTRY.get_sample_value(name)


async def is_accepted(proxy: Reloadable, number: int, title: str) -> bool:
    return isinstance(await proxy.associate(number, title), Acceptance)


async def is_closed(proxy: Reloadable) -> None:
    async with asyncio.timeout(60):
        while not proxy.closed:  # noqa: ASYNC110 - the claim is that it is closed
            await asyncio.sleep(0.01)


async def test_an_allow_list_holds_for_new_associations_and_drops_no_open_one(
    proxy: Reloadable,
) -> None:
    async with proxy.started(BOTH) as (_, reloader):
        assert await is_accepted(proxy, 1, "RADIOLOGY")
        proxy.write(BOTH + "callingAeTitles: [MR1]\n")
        assert await reloader.reload()
        rejection = await proxy.associate(2, "RADIOLOGY")
        assert isinstance(rejection, Rejection)
        assert rejection.reason is RejectReason.CALLING_AE_TITLE_NOT_RECOGNIZED
        assert await proxy.store(1, "RADIOLOGY") == [Status.SUCCESS]
        proxy.write(BOTH)
        assert await reloader.reload()
        assert await is_accepted(proxy, 3, "RADIOLOGY")


async def test_a_space_that_is_added_takes_associations(proxy: Reloadable) -> None:
    async with proxy.started(RADIOLOGY_ALONE) as (running, reloader):
        proxy.write(BOTH)
        assert await reloader.reload()
        assert await is_accepted(proxy, 1, "CARDIOLOGY")
        assert await proxy.store(1, "CARDIOLOGY") == [Status.SUCCESS]
        assert proxy.requesters["CARDIOLOGY"].carried == [b"data set"]
        assert running.spaces[0].settings.maximum_associations == 32


async def test_a_space_that_is_removed_ends_with_its_last_association(proxy: Reloadable) -> None:
    async with proxy.started(BOTH) as (running, reloader):
        assert await is_accepted(proxy, 1, "CARDIOLOGY")
        proxy.write(RADIOLOGY_ALONE)
        assert await reloader.reload()
        assert await proxy.store(1, "CARDIOLOGY") == [Status.SUCCESS]
        assert await is_accepted(proxy, 2, "RADIOLOGY")
        assert not proxy.closed
        proxy.end(1, "CARDIOLOGY")
        await is_closed(proxy)
        assert proxy.closed == ["CARDIOLOGY"]
        assert not any("CARDIOLOGY" in name for name in await running.health.notes())


async def test_a_space_that_is_removed_stays_open_while_its_outbox_has_data_sets(
    proxy: Reloadable,
) -> None:
    proxy.requesters["CARDIOLOGY"].store_result = StoreResult(
        status=Status.OUT_OF_RESOURCES, transient=True
    )
    async with proxy.started(BOTH + "acknowledge: spooled\n") as (_, reloader):
        assert await is_accepted(proxy, 1, "CARDIOLOGY")
        assert await proxy.store(1, "CARDIOLOGY") == [Status.SUCCESS]
        proxy.end(1, "CARDIOLOGY")
        proxy.write(RADIOLOGY_ALONE + "acknowledge: spooled\n")
        assert await reloader.reload()
        async with asyncio.timeout(60):
            while not proxy.requesters["CARDIOLOGY"].carried:  # noqa: ASYNC110 - it is tried
                await asyncio.sleep(0.01)
            assert not proxy.closed
            proxy.requesters["CARDIOLOGY"].store_result = StoreResult(status=Status.SUCCESS)
            while not proxy.closed:  # noqa: ASYNC110 - the claim is that it is closed
                await asyncio.sleep(0.01)
    assert proxy.requesters["CARDIOLOGY"].carried[-1] == b"data set"


async def test_a_space_that_is_removed_stays_open_until_its_reports_are_sent(
    proxy: Reloadable,
) -> None:
    enabled = f"storageCommitment: {{enabled: true, directory: {proxy.folder}/commitment}}\n"
    journal = proxy.folder / "commitment" / "space-CARDIOLOGY" / "1"
    journal.mkdir(parents=True)
    record_file.create(journal / "a.transaction", accepted())
    proxy.sender = sender = WaitingSender()
    async with proxy.started(BOTH + enabled) as (_, reloader):
        proxy.write(RADIOLOGY_ALONE + enabled)
        assert await reloader.reload()
        async with asyncio.timeout(60):
            await sender.is_asked.wait()
        await asyncio.sleep(2 * open_spaces._CLOSE_INTERVAL)
        assert not proxy.closed
        sender.may_send.set()
        await is_closed(proxy)
    assert len(sender.sent) == 1


class WaitingSender(FakeSender):
    """A `ReportSender` whose peer takes no report until `may_send` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.is_asked = asyncio.Event()
        self.may_send = asyncio.Event()

    async def send(self, report: Report) -> None:
        self.is_asked.set()
        await self.may_send.wait()
        await super().send(report)


async def test_a_space_that_is_added_again_before_it_is_closed_goes_on(proxy: Reloadable) -> None:
    service = proxy.requesters["CARDIOLOGY"]
    service.store_result = StoreResult(status=Status.OUT_OF_RESOURCES, transient=True)
    spooled = "acknowledge: spooled\n"
    async with proxy.started(BOTH + spooled) as (running, reloader):
        assert await is_accepted(proxy, 1, "CARDIOLOGY")
        assert await proxy.store(1, "CARDIOLOGY", b"first") == [Status.SUCCESS]
        proxy.write(RADIOLOGY_ALONE + spooled)
        assert await reloader.reload()
        proxy.write(BOTH + spooled + "callingAeTitles: [MR1]\n")
        assert await reloader.reload()
        assert not await is_accepted(proxy, 2, "CARDIOLOGY")
        proxy.write(BOTH + spooled)
        assert await reloader.reload()
        assert await is_accepted(proxy, 3, "CARDIOLOGY")
        assert "1 data sets" in (await running.health.notes())["space CARDIOLOGY"]
        assert await proxy.store(1, "CARDIOLOGY", b"second") == [Status.SUCCESS]
        assert await proxy.store(3, "CARDIOLOGY", b"third") == [Status.SUCCESS]
        service.carried.clear()
        service.store_result = StoreResult(status=Status.SUCCESS)
        async with asyncio.timeout(60):
            while len(service.carried) < 3:  # noqa: ASYNC110 - the claim is that they come
                await asyncio.sleep(0.01)
        assert sorted(service.carried) == [b"first", b"second", b"third"]
        assert not proxy.closed
        proxy.write(RADIOLOGY_ALONE + spooled)
        assert await reloader.reload()
        for number in (1, 3):
            proxy.end(number, "CARDIOLOGY")
        await is_closed(proxy)


async def test_a_space_that_was_closed_is_opened_again(proxy: Reloadable) -> None:
    async with proxy.started(BOTH) as (_, reloader):
        for _ in range(2):
            proxy.write(RADIOLOGY_ALONE)
            assert await reloader.reload()
            await is_closed(proxy)
            proxy.write(BOTH)
            assert await reloader.reload()
            proxy.closed.clear()
        assert await is_accepted(proxy, 1, "CARDIOLOGY")


async def test_a_failed_reload_leaves_a_removed_space_to_its_end(proxy: Reloadable) -> None:
    async with proxy.started(BOTH) as (_, reloader):
        assert await is_accepted(proxy, 1, "CARDIOLOGY")
        proxy.write(RADIOLOGY_ALONE)
        assert await reloader.reload()
        (proxy.folder / "spool" / "space-ONCOLOGY").touch()
        proxy.write(BOTH + "- {aeTitle: ONCOLOGY, natsSubjectRoot: ONC}\n")
        assert not await reloader.reload()
        assert proxy.closed == ["ONCOLOGY"]
        proxy.closed.clear()
        proxy.end(1, "CARDIOLOGY")
        await is_closed(proxy)
        assert proxy.closed == ["CARDIOLOGY"]


async def test_an_outbox_that_no_space_uses_is_told_until_its_space_is_back(
    proxy: Reloadable, lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unused_folders, "_INTERVAL", 0.01)
    spooled = "acknowledge: spooled\n"
    service = proxy.requesters["CARDIOLOGY"]
    service.store_result = StoreResult(status=Status.OUT_OF_RESOURCES, transient=True)
    async with proxy.started(BOTH + spooled) as (running, _):
        assert await is_accepted(proxy, 1, "CARDIOLOGY")
        assert await proxy.store(1, "CARDIOLOGY") == [Status.SUCCESS]
        assert "unused spool" not in await running.health.notes()
    for alone in (RADIOLOGY_ALONE, "aeTitle: RADIOLOGY\n"):
        lines.truncate(0)
        async with proxy.started(alone) as (running, reloader):
            note = (await running.health.notes())["unused spool"]
            assert note == "No storage space forwards the data sets in space-CARDIOLOGY/outbox."
            assert "A spool holds data sets that no storage space forwards" in lines.getvalue()
            await until_counted("spool", 1)
            outbox = Folders(proxy.folder / "spool" / "space-CARDIOLOGY" / "outbox")
            if alone != RADIOLOGY_ALONE:
                (item,) = items(outbox)
                dead_letters.request_drop(outbox, item.metadata.operation_id)
                await until_counted("spool", 0)
                assert items(outbox) == []
                assert "A data set is dropped on request." in lines.getvalue()
            else:
                proxy.write(BOTH)
                assert await reloader.reload()
                assert "unused spool" not in await running.health.notes()
                await until_counted("spool", 0)


async def until_counted(kind: str, number: int) -> None:
    """Wait until the metric has so many unused folders of a kind."""
    name, labels = "dimse_proxy_unused_folders", {"kind": kind}
    async with asyncio.timeout(30):
        while REGISTRY.get_sample_value(name, labels) != number:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)


async def test_a_commitment_journal_that_no_space_uses_is_told_until_its_space_is_back(
    proxy: Reloadable, lines: io.StringIO
) -> None:
    directory = f"storageCommitment: {{directory: {proxy.folder}/commitment}}\n"
    enabled = f"storageCommitment: {{enabled: true, directory: {proxy.folder}/commitment}}\n"
    journal = proxy.folder / "commitment" / "space-CARDIOLOGY" / "1"
    journal.mkdir(parents=True)
    record_file.create(journal / "a.transaction", accepted())
    for unused in (RADIOLOGY_ALONE + enabled, BOTH + directory, "aeTitle: RADIOLOGY\n" + enabled):
        lines.truncate(0)
        async with proxy.started(unused) as (running, _):
            note = (await running.health.notes())["unused commitment journal"]
            assert note.endswith("the storage commitment requests in space-CARDIOLOGY/1.")
            assert "requests that no storage space reports" in lines.getvalue()
            await until_counted("commitment_journal", 1)
    async with proxy.started(BOTH + enabled) as (running, _):
        assert "unused commitment journal" not in await running.health.notes()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("spaces: [{aeTitle: RADIOLOGY}]", "natsSubjectRoot: it is missing"),
        ("callingAeTitles: [", "is not YAML"),
        ("aeTitle: RADIOLOGY", "restart the proxy to begin or end using it"),
    ],
)
async def test_settings_that_can_not_be_used_change_nothing_and_are_logged(
    proxy: Reloadable, lines: io.StringIO, text: str, reason: str
) -> None:
    async with proxy.started(BOTH) as (_, reloader):
        loaded_at = value("dimse_proxy_last_reload_success_timestamp_seconds")
        assert value("dimse_proxy_last_reload_successful") == 1
        proxy.write(text)
        assert not await reloader.reload()
        assert value("dimse_proxy_last_reload_successful") == 0
        assert value("dimse_proxy_last_reload_success_timestamp_seconds") == loaded_at
        assert "the old ones stay in use" in lines.getvalue()
        assert reason in lines.getvalue()
        assert await is_accepted(proxy, 1, "CARDIOLOGY")
        assert not proxy.certificates
        proxy.write(BOTH)
        assert await reloader.reload()
        assert value("dimse_proxy_last_reload_successful") == 1


async def test_a_space_that_can_not_be_opened_leaves_all_as_it_was(proxy: Reloadable) -> None:
    async with proxy.started(RADIOLOGY_ALONE) as (_, reloader):
        (proxy.folder / "spool" / "space-CARDIOLOGY").touch()
        proxy.write(BOTH + "callingAeTitles: [MR1]\n")
        assert not await reloader.reload()
        assert await is_accepted(proxy, 1, "RADIOLOGY")
        assert proxy.closed == ["CARDIOLOGY"]


async def test_certificates_that_can_not_be_read_change_nothing(proxy: Reloadable) -> None:
    async with proxy.started(BOTH) as (_, reloader):
        proxy.mistake = "DIMSE_TLS_CERTIFICATE_PATH: no PEM pair."
        proxy.write(BOTH + "callingAeTitles: [MR1]\n")
        assert not await reloader.reload()
        assert await is_accepted(proxy, 1, "RADIOLOGY")
        proxy.mistake = ""
        assert await reloader.reload()
        assert len(proxy.certificates) == 1


async def test_settings_that_need_a_restart_are_named(
    proxy: Reloadable, lines: io.StringIO
) -> None:
    async with proxy.started(BOTH) as (_, reloader):
        proxy.write(BOTH + "maximumMatches: 5\npeers: [{aeTitle: WS1, may: [move]}]\n")
        assert await reloader.reload()
    assert '"changed":["peers"]' in lines.getvalue()
    assert '"settings":["maximum_matches"]' in lines.getvalue()


async def test_peers_are_those_of_the_last_reload_for_whoever_has_the_settings(
    proxy: Reloadable,
) -> None:
    async with proxy.started(BOTH) as (running, reloader):
        peer_of: Any = running.spaces[0].settings.peer
        assert peer_of("WS1") is None
        proxy.write(BOTH + "peers: [{aeTitle: WS1, may: [move]}]\n")
        assert await reloader.reload()
        assert peer_of("WS1").may == {"move"}


async def test_a_changed_file_and_a_request_each_cause_a_reload(proxy: Reloadable) -> None:
    async with proxy.started(BOTH) as (_, reloader):
        watching = asyncio.create_task(reloader.watch())
        async with asyncio.timeout(60):
            proxy.write(BOTH + "callingAeTitles: [MR1]\n")
            while await is_accepted(proxy, 1, "RADIOLOGY"):
                proxy.end(1, "RADIOLOGY")
                await asyncio.sleep(0.01)
            reloader.request()
            while len(proxy.certificates) < 2:  # noqa: ASYNC110 - the claim is that it happens
                await asyncio.sleep(0.01)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def test_a_file_that_is_replaced_as_kubernetes_does_causes_a_reload(
    proxy: Reloadable,
) -> None:
    async with proxy.started(BOTH) as (_, reloader):
        watching = asyncio.create_task(reloader.watch())
        content = proxy.file.read_text() + "callingAeTitles: [MR1]\n"
        (proxy.folder / "new.yaml").write_text(content)
        os.replace(proxy.folder / "new.yaml", proxy.file)  # noqa: PTH105 - as a mount does
        async with asyncio.timeout(60):
            while await is_accepted(proxy, 1, "RADIOLOGY"):
                proxy.end(1, "RADIOLOGY")
                await asyncio.sleep(0.01)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
