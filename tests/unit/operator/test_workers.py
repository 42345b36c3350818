"""A worker for each resource: looks are one at a time, repeated when they fail, and independent."""

import asyncio

import pytest

from dimse_ingestion.operator import workers as module
from dimse_ingestion.operator.resources import Key
from dimse_ingestion.operator.workers import Workers

ONE, OTHER = (Key("DimseProxy", "imaging", name) for name in ("one", "other"))


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SETTLE", 0.0)
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.01)


class Looks:
    """Counts the looks; one named in `bad` fails so often, one in `hangs` never ends."""

    def __init__(self, bad: int = 0, hangs: Key | None = None) -> None:
        self.observation: list[Key] = []
        self._bad, self._hangs = bad, hangs
        self.changed = asyncio.Condition()

    async def reconcile(self, key: Key) -> bool:
        async with self.changed:
            self.observation.append(key)
            self.changed.notify_all()
        if key == self._hangs:
            await asyncio.Event().wait()
        if self._bad:
            self._bad -= 1
            raise RuntimeError("down")
        return True

    async def until(self, count: int) -> None:
        async with asyncio.timeout(60), self.changed:
            await self.changed.wait_for(lambda: len(self.observation) >= count)


async def test_calls_at_once_are_one_reconciliation() -> None:
    reconciler = Looks()
    workers = Workers(reconciler.reconcile, 60)
    for _ in range(5):
        workers.wake(ONE)
    workers.wake(OTHER)
    await reconciler.until(2)
    assert sorted(each.name for each in reconciler.observation) == ["one", "other"]
    await workers.close()


async def test_a_failed_reconciliation_is_repeated() -> None:
    reconciler = Looks(bad=3)
    workers = Workers(reconciler.reconcile, 60)
    workers.wake(ONE)
    await reconciler.until(4)
    await workers.close()


async def test_one_without_events_is_reconciled_again() -> None:
    reconciler = Looks()
    workers = Workers(reconciler.reconcile, 0.01)
    workers.wake(ONE)
    await reconciler.until(3)
    await workers.close()


async def test_one_that_hangs_holds_up_no_other() -> None:
    reconciler = Looks(hangs=ONE)
    workers = Workers(reconciler.reconcile, 60)
    workers.wake(ONE)
    workers.wake(OTHER)
    await reconciler.until(2)
    assert OTHER in reconciler.observation
    await workers.close()


async def test_one_that_is_gone_is_reconciled_no_more() -> None:
    reconciler = Looks()
    workers = Workers(reconciler.reconcile, 0.01)
    workers.wake(ONE)
    await reconciler.until(1)
    workers.forget(ONE)
    count = len(reconciler.observation)
    workers.wake(OTHER)
    await reconciler.until(count + 3)
    assert set(reconciler.observation[count:]) == {OTHER}
    await workers.close()
