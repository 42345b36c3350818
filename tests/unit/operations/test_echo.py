import asyncio

import pytest

from dimse_ingestion.failures import Failure, Unavailable
from dimse_ingestion.operations import echo
from dimse_ingestion.operations.echo import BackendHealth, BackendHealthCheck


class Backend:
    """A backend whose check succeeds, fails with `error`, or waits for `may_answer`."""

    def __init__(self, error: Failure | None = None) -> None:
        self.error = error
        self.checks = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def check(self) -> None:
        self.checks += 1
        await self.may_answer.wait()
        if self.error:
            raise self.error


def health_check(bucket: Backend, sink: Backend, catalogue: Backend) -> BackendHealthCheck:
    return BackendHealthCheck(bucket.check, sink.check, catalogue.check)


async def test_healthy_backends_have_no_error() -> None:
    health = await health_check(Backend(), Backend(), Backend()).health()
    assert (health, health.first_error) == (BackendHealth(), "")


@pytest.mark.parametrize("which", range(3))
async def test_each_backend_reports_its_own_error(which: int) -> None:
    backends = [Backend(), Backend(), Backend()]
    backends[which].error = Unavailable("It is down.")
    health = await health_check(*backends).health()
    sentences = (health.bucket, health.event_sink, health.catalogue)
    assert sentences == tuple("It is down." if each == which else "" for each in range(3))
    assert health.first_error == "It is down."


async def test_concurrent_echoes_check_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(echo, "_CACHE_SECONDS", 60.0)
    bucket = Backend()
    check = health_check(bucket, Backend(), Backend())
    await asyncio.gather(*(check.health() for _ in range(100)))
    await check.health()
    assert bucket.checks == 1


async def test_a_cached_result_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(echo, "_CACHE_SECONDS", 0.0)
    bucket = Backend(Unavailable("It is down."))
    check = health_check(bucket, Backend(), Backend())
    assert (await check.health()).bucket
    bucket.error = None
    assert not (await check.health()).bucket


async def test_a_check_that_hangs_times_out_and_delays_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(echo, "_CHECK_TIMEOUT", 0.05)
    hanging = Backend()
    hanging.may_answer.clear()
    check = health_check(Backend(), hanging, Backend(Unavailable("It is down.")))
    health = await check.health()
    assert (health.bucket, health.catalogue) == ("", "It is down.")
    assert "No answer" in health.event_sink


async def test_a_check_longer_than_the_cache_time_answers_all_waiters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A check that takes longer than its result is cached still answers everyone who waited."""
    monkeypatch.setattr(echo, "_CHECK_TIMEOUT", 0.05)
    monkeypatch.setattr(echo, "_CACHE_SECONDS", 0.01)
    hanging = Backend()
    hanging.may_answer.clear()
    check = health_check(hanging, Backend(), Backend())
    await asyncio.gather(*(check.health() for _ in range(5)))
    assert hanging.checks == 1


async def test_a_cancelled_waiter_does_not_cancel_the_check_of_others() -> None:
    slow = Backend()
    slow.may_answer.clear()
    check = health_check(slow, Backend(), Backend(Unavailable("It is down.")))
    impatient = asyncio.create_task(check.health())
    patient = asyncio.create_task(check.health())
    await asyncio.sleep(0)
    impatient.cancel()
    slow.may_answer.set()
    assert (await patient).catalogue == "It is down."
    assert (impatient.cancelled(), slow.checks) == (True, 1)


async def test_a_backend_that_is_busy_for_a_moment_stays_healthy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(echo, "_CACHE_SECONDS", 0.0)
    monkeypatch.setattr(echo, "_PATIENCE", 0.01)
    busy = Backend()
    check = health_check(Backend(), busy, Backend())
    await check.health()
    busy.may_answer.clear()
    assert await check.health() == BackendHealth()
    assert await check.health() == BackendHealth()
    assert busy.checks == 2


async def test_a_backend_that_is_silent_for_longer_is_not_healthy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(echo, "_CACHE_SECONDS", 0.0)
    monkeypatch.setattr(echo, "_PATIENCE", 0.01)
    monkeypatch.setattr(echo, "_CHECK_TIMEOUT", 0.05)
    silent = Backend()
    check = health_check(Backend(), silent, Backend())
    await check.health()
    silent.may_answer.clear()
    monkeypatch.setattr(echo, "_MAX_AGE", 0.0)
    assert "No answer" in (await check.health()).event_sink


async def test_an_answer_that_comes_late_counts_until_it_is_old(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A check without an answer does not make the last answer younger."""
    monkeypatch.setattr(echo, "_CACHE_SECONDS", 0.0)
    monkeypatch.setattr(echo, "_CHECK_TIMEOUT", 0.01)
    silent = Backend()
    check = health_check(silent, Backend(), Backend())
    await check.health()
    silent.may_answer.clear()
    assert not (await check.health()).bucket
    monkeypatch.setattr(echo, "_MAX_AGE", 0.0)
    assert "No answer" in (await check.health()).bucket


async def test_a_backend_that_refuses_is_not_healthy_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(echo, "_CACHE_SECONDS", 0.0)
    catalogue = Backend()
    check = health_check(Backend(), Backend(), catalogue)
    await check.health()
    catalogue.error = Unavailable("It is down.")
    assert (await check.health()).catalogue == "It is down."
    catalogue.may_answer.clear()
    monkeypatch.setattr(echo, "_PATIENCE", 0.0)
    monkeypatch.setattr(echo, "_CHECK_TIMEOUT", 0.01)
    assert "No answer" in (await check.health()).catalogue
