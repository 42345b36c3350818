import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dimse_ingestion.proxy.commitment import record_file
from dimse_ingestion.proxy.commitment.journal import Journal, JournalFull, JournalLimits
from dimse_ingestion.proxy.commitment.transactions import Decided
from tests.unit.proxy.commitment_examples import TRANSACTION, accepted

ROOT = Path(__file__).parents[4]


@contextmanager
def opened(folder: Path, limits: JournalLimits | None = None) -> Iterator[Journal]:
    journal = Journal(folder, limits)
    journal.open()
    try:
        yield journal
    finally:
        journal.close()


async def test_transactions_and_decisions_are_there_after_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        first = await journal.add(accepted(2))
        second = await journal.add(accepted(3, transaction_uid="1.2.9", received_at=5.0))
        await journal.decide(first, Decided(decided_at=9.0, failures={}))
        used = journal.bytes_used
    with opened(tmp_path) as journal:
        assert [each.id for each in journal.entries] == [second.id, first.id]
        assert [each.decided_at for each in journal.entries] == [None, 9.0]
        assert journal.bytes_used == used
        content = await journal.read(journal.entries[1])
        assert content.accepted == accepted(2)


async def test_a_transaction_that_is_over_is_gone(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        await journal.remove(await journal.add(accepted()))
        assert (journal.entries, journal.bytes_used) == ([], 0)
    with opened(tmp_path) as journal:
        assert journal.entries == []


def test_a_request_that_was_never_answered_is_removed(tmp_path: Path) -> None:
    (tmp_path / "a.transaction.part").write_bytes(record_file.encode(accepted())[:50])
    with opened(tmp_path) as journal:
        assert journal.entries == []
    assert [each.name for each in tmp_path.iterdir()] == ["lock"]


async def test_a_damaged_transaction_is_set_aside_and_the_others_are_used(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        damaged = await journal.add(accepted())
        whole = await journal.add(accepted(transaction_uid="1.2.9"))
    path = tmp_path / f"{damaged.id}.transaction"
    path.write_bytes(path.read_bytes()[:-1])
    with opened(tmp_path) as journal:
        assert [each.id for each in journal.entries] == [whole.id]
    assert (tmp_path / f"{damaged.id}.damaged").exists()


async def test_a_decision_follows_one_that_was_cut(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        entry = await journal.add(accepted())
        await journal.decide(entry, Decided(decided_at=9.0, failures={0: 0x0112}))
    path = tmp_path / f"{entry.id}.transaction"
    path.write_bytes(path.read_bytes()[:-3])
    with opened(tmp_path) as journal:
        (entry,) = journal.entries
        assert entry.decided_at is None
        await journal.decide(entry, Decided(decided_at=11.0, failures={}))
    with opened(tmp_path) as journal:
        content = await journal.read(journal.entries[0])
        assert content.decided == Decided(decided_at=11.0, failures={})


async def test_the_journal_is_bounded_in_number(tmp_path: Path) -> None:
    with opened(tmp_path, JournalLimits(transactions=2)) as journal:
        entries = [await journal.add(accepted(transaction_uid=f"1.2.{each}")) for each in (1, 2)]
        with pytest.raises(JournalFull):
            await journal.add(accepted())
        await journal.remove(entries[0])
        await journal.add(accepted())


async def test_the_journal_is_bounded_in_bytes(tmp_path: Path) -> None:
    length = len(record_file.encode(accepted(100)))
    with opened(tmp_path, JournalLimits(bytes=2 * length)) as journal:
        await journal.add(accepted(100))
        entry = await journal.add(accepted(100))
        with pytest.raises(JournalFull):
            await journal.add(accepted(1))
        await journal.decide(entry, Decided(decided_at=1.0, failures={1: 2}))  # never refused


async def test_a_full_disk_is_a_full_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    with opened(tmp_path) as journal:
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", full)
            with pytest.raises(JournalFull):
                await journal.add(accepted())
        assert (journal.entries, journal.bytes_used) == ([], 0)
        await journal.add(accepted())


async def test_a_transaction_is_found_by_its_ae_and_uid(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        entry = await journal.add(accepted())
        assert list(journal.find("CT1", TRANSACTION)) == [entry]
        assert list(journal.find("CT2", TRANSACTION)) == []
        assert list(journal.find("CT1", "1.2")) == []


def test_two_processes_do_not_share_a_journal(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(BlockingIOError):
        Journal(tmp_path).open()
    with opened(tmp_path):
        pass


async def test_the_transactions_of_a_worker_that_is_no_more_are_adopted(tmp_path: Path) -> None:
    with opened(tmp_path / "2") as journal:
        entry = await journal.add(accepted())
        await journal.decide(entry, Decided(decided_at=9.0, failures={}))
    with opened(tmp_path / "1") as journal:
        journal.adopt(tmp_path / "2")
        assert [(each.id, each.decided_at) for each in journal.entries] == [(entry.id, 9.0)]
        assert (await journal.read(journal.entries[0])).accepted == accepted()
    with opened(tmp_path / "2") as journal:
        assert journal.entries == []
    with opened(tmp_path / "1") as journal:
        assert len(journal.entries) == 1


async def test_the_transactions_of_a_worker_that_runs_are_left_to_it(tmp_path: Path) -> None:
    with opened(tmp_path / "1") as journal, opened(tmp_path / "2") as other:
        await other.add(accepted())
        journal.adopt(tmp_path / "2")
        assert (len(journal.entries), len(other.entries)) == (0, 1)


_PROGRAM = """
import asyncio, sys
from pathlib import Path
from dimse_ingestion.proxy.commitment.journal import Journal
from dimse_ingestion.proxy.commitment.transactions import Decided
from tests.unit.proxy.commitment_examples import accepted

async def run():
    journal = Journal(Path(sys.argv[1]))
    journal.open()
    for number in range(100000):
        entry = await journal.add(accepted(50, transaction_uid=f"1.2.{number}"))
        print(f"added {number}", flush=True)
        await journal.decide(entry, Decided(decided_at=1.0, failures={0: number}))
        print(f"decided {number}", flush=True)

asyncio.run(run())
"""


@pytest.mark.parametrize("lines", [1, 2, 17, 60])
def test_what_was_confirmed_is_there_after_kill_9(lines: int, tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert writer.stdout
    confirmed = [writer.stdout.readline().split() for _ in range(lines)]
    writer.send_signal(signal.SIGKILL)
    confirmed += [line.split() for line in writer.stdout.read().splitlines()]
    writer.wait()
    writer.stdout.close()
    added = {number for what, number in confirmed if what == "added"}
    decided = {number for what, number in confirmed if what == "decided"}
    with opened(tmp_path) as journal:
        there = {each.transaction_uid.rpartition(".")[2]: each for each in journal.entries}
        assert added <= there.keys()
        assert len(there) - len(added) in (0, 1)  # one may be written and not yet confirmed
        assert all(there[each].decided_at for each in decided)
        for each in there.values():
            content = record_file.read(tmp_path / f"{each.id}.transaction")
            assert len(content.accepted.references) == 50
