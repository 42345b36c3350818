import asyncio
import io
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette

from dimse_ingestion.observability import probes
from dimse_ingestion.observability.http_server import serve
from dimse_ingestion.observability.probes import Health


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
async def port(health: Health) -> AsyncIterator[int]:
    app = Starlette(routes=probes.routes(health))
    async with serve(app, "127.0.0.1", 0) as port:
        yield port


async def get(port: int, path: str) -> tuple[int, str]:
    def ask() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()

    return await asyncio.to_thread(ask)


async def test_a_service_without_problems_is_ready_and_alive(port: int) -> None:
    assert await get(port, "/readyz") == (200, "ready\n")
    assert await get(port, "/livez") == (200, "alive\n")


async def test_not_ready_reports_why_and_is_alive(health: Health, port: int) -> None:
    async def slow_to_tell() -> str:
        return "Missing bucket Secret img-ingest-s3"

    health.add("nats", lambda: "NATS refused the token")
    health.add("spool", lambda: "")
    health.add("bucket", slow_to_tell)
    assert await get(port, "/readyz") == (
        503,
        "not ready\nnats: NATS refused the token\nbucket: Missing bucket Secret img-ingest-s3\n",
    )
    assert (await get(port, "/livez"))[0] == 200


async def test_a_service_recovers(health: Health, port: int) -> None:
    problem = ["away"]
    health.add("nats", lambda: problem[0])
    assert (await get(port, "/readyz"))[0] == 503
    problem[0] = ""
    assert (await get(port, "/readyz"))[0] == 200


async def test_a_draining_service_is_not_ready(health: Health, port: int) -> None:
    health.drain()
    status, text = await get(port, "/readyz")
    assert status == 503
    assert "draining" in text


def take_logged(lines: io.StringIO) -> list[tuple[str, object]]:
    """Return what was logged since the last call."""
    result = [json.loads(line) for line in lines.getvalue().splitlines()]
    lines.seek(lines.truncate(0))
    return [(line["event"], line.get("reason")) for line in result]


async def test_the_log_reports_each_change_once(lines: io.StringIO) -> None:
    health, problem = Health("proxy"), ["Missing bucket Secret img-ingest-s3: create it."]
    health.add("nats", lambda: "")
    health.add("bucket", lambda: problem[0])
    for _ in range(3):
        await health.problems()
    assert take_logged(lines) == [("The proxy is not ready.", {"bucket": problem[0]})]
    problem[0] = ""
    for _ in range(3):
        await health.problems()
    assert take_logged(lines) == [("The proxy is ready.", None)]


async def test_the_log_reports_without_a_probe(
    lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "_CHECK_INTERVAL", 0.01)
    looks = asyncio.Semaphore(0)
    health = Health("proxy")

    def check() -> str:
        looks.release()
        return "away"

    health.add("nats", check)
    async with probes.watch_readiness(health), asyncio.timeout(10):
        for _ in range(3):
            await looks.acquire()
    assert take_logged(lines) == [("The proxy is not ready.", {"nats": "away"})]


async def test_a_check_that_fails_or_hangs_is_a_problem(
    health: Health, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "_CHECK_TIMEOUT", 0.01)

    def fails() -> str:
        raise ConnectionError("refused")

    async def hangs() -> str:
        await asyncio.Event().wait()
        return ""

    health.add("fails", fails)
    health.add("hangs", hangs)
    problems = await health.problems()
    assert problems["fails"] == "refused"
    assert "no answer within" in problems["hangs"]


async def test_metrics_are_served(port: int) -> None:
    status, text = await get(port, "/metrics")
    assert status == 200
    assert "python_info" in text


async def test_a_port_in_use_is_reported_at_once(port: int) -> None:
    with pytest.raises(OSError, match="in use"):
        async with serve(Starlette(), "127.0.0.1", port):
            pass
