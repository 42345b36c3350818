"""A state machine of an outbox whose process and disk fail: what was added is never lost."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dimse_ingestion.outbox import dead_letters, files
from dimse_ingestion.outbox.dead_letters import Reason
from dimse_ingestion.outbox.outbox import Outbox
from dimse_ingestion.outbox.waiting import Entry
from tests.unit.outbox.data_sets import MIB, Content, content, metadata

SEGMENT_LENGTH = 1500


def name(number: int) -> str:
    return f"0190-{number:06d}"


def copy_if_there(source: str, target: str) -> None:
    """Copy a file, unless a thread of the outbox has just deleted it."""
    with suppress(FileNotFoundError):
        shutil.copy2(source, target)


class Crashes(RuleBasedStateMachine):
    """`acknowledged` is what must be somewhere; a crash is a copy of the folder, used instead."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        for sync in ("fsync", "fdatasync"):  # a crash is modelled by a copy of what was written
            self.patch.setattr(os, sync, lambda _: None)
        self.loop = asyncio.new_event_loop()
        self.base = Path(tempfile.mkdtemp(prefix="outbox-"))
        self.folder = self.base / "0"
        self.acknowledged: dict[str, bytes] = {}
        self.dead: set[str] = set()
        self.numbers = 0
        self.folders = 0
        self.outbox: Outbox | None = None

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    @property
    def open_outbox(self) -> Outbox:
        assert self.outbox is not None
        return self.outbox

    @initialize()
    def start(self) -> None:
        self.run(self._open())

    async def _open(self) -> None:
        self.outbox = Outbox(self.folder, segment_length=SEGMENT_LENGTH)
        await self.outbox.open()

    @rule(lengths=st.lists(st.sampled_from([1, 300, 5000, MIB + 1]), min_size=1, max_size=4))
    def add_at_once(self, lengths: list[int]) -> None:
        added = {
            self.numbers + n: content(self.numbers + n, each) for n, each in enumerate(lengths)
        }
        self.numbers += len(lengths)

        async def add() -> None:
            await asyncio.gather(
                *(
                    self.open_outbox.add(metadata(number, data), Content(data))
                    for number, data in added.items()
                )
            )

        self.run(add())
        self.acknowledged |= {name(number): data for number, data in added.items()}

    def _take(self) -> tuple[Entry, str] | None:
        entry = self.open_outbox.queue.take(0.0)
        if entry is None:
            return None
        opened = self.run(self.open_outbox.open_entry(entry))
        opened.close()
        return entry, opened.metadata.operation_id

    @rule()
    def deliver_the_oldest(self) -> None:
        if taken := self._take():
            entry, operation_id = taken
            self.open_outbox.delivered(entry)
            self.acknowledged.pop(operation_id, None)  # it may have come again: its mark was lost

    @rule()
    def fail_the_oldest(self) -> None:
        if taken := self._take():
            self.open_outbox.queue.put_back(taken[0], 0.0)

    @rule()
    def refuse_the_oldest(self) -> None:
        if taken := self._take():
            entry, operation_id = taken
            opened = self.run(self.open_outbox.open_entry(entry))
            self.run(self.open_outbox.refuse(entry, opened, Reason(status="C000")))
            opened.close()
            self.dead.add(operation_id)

    @precondition(lambda self: self.dead)
    @rule()
    def retry_a_dead_letter(self) -> None:
        outbox = self.open_outbox
        for path in outbox.folders.dead()[:1]:
            dead_letters.retry(outbox.folders, path)
            self.dead.discard(path.name.removesuffix(files.SUFFIX))
        self.run(outbox.housekeeping.run_once())

    @rule()
    def restart(self) -> None:
        self.run(self.open_outbox.close())
        self.run(self._open())

    @rule(unsynced_marks=st.booleans(), torn=st.binary(max_size=40))
    def crash(self, unsynced_marks: bool, torn: bytes) -> None:
        """Go on from what the disk has now, perhaps without marks and with a torn end."""
        self.folders += 1
        crashed = self.base / str(self.folders)
        shutil.copytree(self.folder, crashed, copy_function=copy_if_there)
        if unsynced_marks:
            for path in crashed.glob("segments/*.marks"):
                os.truncate(path, path.stat().st_size // 2)
        for path in sorted(crashed.glob("segments/*.segment"))[-1:]:
            with path.open("ab") as segment:
                segment.write(torn)
        self.run(self.open_outbox.close())
        self.folder = crashed
        self.run(self._open())

    @invariant()
    def everything_acknowledged_is_waiting_or_a_dead_letter(self) -> None:
        if self.outbox is None:
            return
        found = self._everything()
        for operation_id, data in self.acknowledged.items():
            assert found.get(operation_id) == data, operation_id

    def _everything(self) -> dict[str, bytes]:
        outbox, found = self.open_outbox, {}
        for entry in outbox.queue.entries():
            opened = self.run(outbox.open_entry(entry, verify=True))
            found[opened.metadata.operation_id] = opened.read(0, entry.size)
            opened.close()
        for path in outbox.folders.dead():
            letter = files.open_file(path)
            found[letter.metadata.operation_id] = letter.read(0, letter.metadata.size)
            letter.close()
        return found

    def teardown(self) -> None:
        if self.outbox is not None:
            self.run(self.outbox.close())
        self.loop.close()
        self.patch.undo()
        shutil.rmtree(self.base)


Crashes.TestCase.settings = settings(
    max_examples=15,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
test_nothing_acknowledged_is_lost = Crashes.TestCase
