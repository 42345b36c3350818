import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dimse_ingestion.failures import Unavailable
from dimse_ingestion.proxy.commitment import record_file
from dimse_ingestion.proxy.commitment.check import Checker, CheckPolicy, NothingPending
from dimse_ingestion.proxy.commitment.journal import Journal
from dimse_ingestion.proxy.commitment.reports import Reporter
from dimse_ingestion.proxy.commitment.transactions import Decided
from dimse_ingestion.proxy.commitment.worker import CommitmentWorker
from dimse_ingestion.transport.protocol.messages import CommitResult
from tests.log_lines import lines
from tests.unit.proxy.commitment_examples import FakeSender, accepted, clock
from tests.unit.proxy.fakes import Association, FakeRequester
from tests.unit.transport.client_server import wait_until
from tests.unit.transport.virtual_time import run_in_virtual_time

__all__ = ["lines"]
DOWN = Unavailable("It is down.")
RETRY_FOR = 24 * 3600.0


class Proxy:
    """Journal and worker of a proxy that runs within `running`."""

    def __init__(self, folder: Path, service: FakeRequester, sender: FakeSender) -> None:
        self.journal = Journal(folder)
        checker = Checker(service, NothingPending(), CheckPolicy(grace=300), clock)
        self.worker = CommitmentWorker(
            self.journal, checker, Reporter(sender, RETRY_FOR, clock), clock
        )


@asynccontextmanager
async def running(
    folder: Path, service: FakeRequester | None = None, sender: FakeSender | None = None
) -> AsyncIterator[Proxy]:
    proxy = Proxy(folder, service or FakeRequester(), sender or FakeSender())
    proxy.journal.open()
    proxy.worker.start()
    try:
        yield proxy
    finally:
        await proxy.worker.stop()
        proxy.journal.close()


def test_a_transaction_is_checked_reported_and_removed(tmp_path: Path) -> None:
    sender = FakeSender()

    async def it() -> None:
        async with running(tmp_path, sender=sender) as proxy:
            proxy.worker.add(await proxy.journal.add(accepted()), None)
            await wait_until(lambda: not proxy.journal.entries)

    run_in_virtual_time(it())
    (report,) = sender.sent
    assert (report.accepted, report.decided.failures) == (accepted(), {})
    assert not list(tmp_path.glob("*.transaction"))


def test_a_report_on_the_same_association_is_the_only_one(tmp_path: Path) -> None:
    sender = FakeSender(same_association=True)

    async def it() -> None:
        async with running(tmp_path, sender=sender) as proxy:
            proxy.worker.add(await proxy.journal.add(accepted()), Association())
            await wait_until(lambda: not proxy.journal.entries)

    run_in_virtual_time(it())
    assert (len(sender.sent_on), len(sender.sent)) == (1, 0)


def test_a_restart_continues_an_undecided_transaction(tmp_path: Path) -> None:
    sender = FakeSender()

    async def it() -> None:
        down = FakeRequester(commit_results=[DOWN] * 1000)
        async with running(tmp_path, down, sender) as proxy:
            proxy.worker.add(await proxy.journal.add(accepted()), None)
            await asyncio.sleep(3600)
        assert sender.sent == []
        async with running(tmp_path, sender=sender) as proxy:
            await wait_until(lambda: not proxy.journal.entries)

    run_in_virtual_time(it(), within=RETRY_FOR)
    assert len(sender.sent) == 1


def test_a_restart_does_not_decide_again(tmp_path: Path) -> None:
    sender = FakeSender([DOWN] * 1000)
    again = FakeRequester()

    async def it() -> None:
        service = FakeRequester(commit_results=[CommitResult(status=0, reasons=(0, 0x0119, 0))])
        async with running(tmp_path, service, sender) as proxy:
            proxy.worker.add(await proxy.journal.add(accepted()), None)
            await asyncio.sleep(100)
        sender.failures.clear()
        async with running(tmp_path, again, sender) as proxy:
            await wait_until(lambda: not proxy.journal.entries)

    run_in_virtual_time(it(), within=RETRY_FOR)
    assert again.opens == []
    assert [each.decided.failures for each in sender.sent] == [{1: 0x0119}]


def test_a_restart_does_not_start_the_time_of_retries_again(tmp_path: Path) -> None:
    sender = FakeSender([DOWN] * 100_000)

    async def it() -> None:
        for part in range(3):
            async with running(tmp_path, sender=sender) as proxy:
                if part == 0:
                    proxy.worker.add(await proxy.journal.add(accepted()), None)
                await asyncio.sleep(RETRY_FOR / 3 - 10)
                assert proxy.journal.entries
        async with running(tmp_path, sender=sender) as proxy:
            await wait_until(lambda: not proxy.journal.entries, within=60)

    run_in_virtual_time(it(), within=2 * RETRY_FOR)


def test_a_file_that_is_damaged_meanwhile_is_set_aside(tmp_path: Path) -> None:
    async def it() -> None:
        down = FakeRequester(commit_results=[DOWN])
        async with running(tmp_path, down) as proxy:
            entry = await proxy.journal.add(accepted())
            proxy.worker.add(entry, None)
            await asyncio.sleep(1)
            (tmp_path / f"{entry.id}.transaction").write_bytes(b"")
            await wait_until(lambda: not proxy.journal.entries)

    run_in_virtual_time(it())
    assert [each.suffix for each in tmp_path.iterdir() if each.name != "lock"] == [".damaged"]


def test_a_damaged_file_that_can_not_be_renamed_is_set_aside_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, failures = Path.rename, [OSError("read-only")]

    def fail_once(path: Path, target: Path) -> Path:
        if failures:
            raise failures.pop()
        return rename(path, target)

    async def it() -> None:
        async with running(tmp_path) as proxy:
            entry = await proxy.journal.add(accepted())
            (tmp_path / f"{entry.id}.transaction").write_bytes(b"")
            monkeypatch.setattr(Path, "rename", fail_once)
            proxy.worker.add(entry, None)
            await wait_until(lambda: not proxy.journal.entries, within=100)

    run_in_virtual_time(it())
    assert [each.suffix for each in tmp_path.iterdir() if each.name != "lock"] == [".damaged"]


def test_a_disk_that_fails_for_a_while_delays_a_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = FakeSender()

    def fail(*_: object) -> int:
        raise OSError("broken")

    async def it() -> None:
        async with running(tmp_path, sender=sender) as proxy:
            entry = await proxy.journal.add(accepted())
            with monkeypatch.context() as patched:
                patched.setattr(record_file, "append", fail)
                proxy.worker.add(entry, None)
                await asyncio.sleep(150)
                assert sender.sent == []  # no report before the decision is durable
            await wait_until(lambda: not proxy.journal.entries, within=100)

    run_in_virtual_time(it())
    assert len(sender.sent) == 1


def test_an_error_of_ours_delays_its_transaction_and_no_other(tmp_path: Path) -> None:
    sender = FakeSender()

    class Broken(FakeRequester):
        async def commit(self, open_: object) -> CommitResult:
            if self.commit_results:
                self.commit_results.pop()
                raise KeyError("bug")
            return CommitResult(status=0, reasons=(0, 0, 0))

    async def it() -> None:
        service = Broken(commit_results=[DOWN])
        async with running(tmp_path, service, sender) as proxy:
            for each in ("1.2.1", "1.2.2"):
                proxy.worker.add(await proxy.journal.add(accepted(transaction_uid=each)), None)
            await wait_until(lambda: len(sender.sent) == 1, within=10)
            await wait_until(lambda: len(sender.sent) == 2, within=100)

    run_in_virtual_time(it())


def test_the_log_names_no_instance(tmp_path: Path, lines: io.StringIO) -> None:
    async def it() -> None:
        service = FakeRequester(commit_results=[DOWN])
        async with running(tmp_path, service, FakeSender([DOWN])) as proxy:
            proxy.worker.add(await proxy.journal.add(accepted()), None)
            await wait_until(lambda: not proxy.journal.entries)

    run_in_virtual_time(it())
    logged = lines.getvalue()
    assert "Storage commitment waits" in logged
    assert "Storage commitment decided." in logged
    assert "Storage commitment reported." in logged
    assert accepted().references[0].sop_instance_uid not in logged


def test_a_decision_is_one_record(tmp_path: Path) -> None:
    async def it() -> None:
        async with running(tmp_path, sender=FakeSender([DOWN] * 9)) as proxy:
            entry = await proxy.journal.add(accepted())
            proxy.worker.add(entry, None)
            proxy.worker.add(entry, None)  # a request that was repeated
            await wait_until(lambda: entry.decided_at is not None)
            content = await proxy.journal.read(entry)
            assert content.decided == Decided(decided_at=entry.decided_at or 0.0, failures={})
            written = (tmp_path / f"{entry.id}.transaction").read_bytes()
            assert written.count(b'"type":"decided"') == 1

    run_in_virtual_time(it())
