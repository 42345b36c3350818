"""The proxy with a real NATS server, without NATS, and without a replica."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from dimse_ingestion.proxy.app import running
from dimse_ingestion.proxy.service import RunningProxy
from dimse_ingestion.settings import ProxySettings
from harness import modalities
from harness.modalities import Peer
from harness.nats_server import NatsServer
from harness.ports import free_port

pytestmark = pytest.mark.skipif(bool(modalities.missing()), reason=modalities.missing())


def local(directory: Path, nats_url: str) -> ProxySettings:
    return ProxySettings(
        nats_url=nats_url,
        host="127.0.0.1",
        port=0,
        http_host="127.0.0.1",
        http_port=0,
        spool_directory=directory / "spool",
        drain_timeout=1.0,
    )


async def problems(proxy: RunningProxy, wanted: Callable[[dict[str, str]], bool]) -> dict[str, str]:
    """Return the proxy's problems when they are as wanted, or the last ones after the time-out."""
    found: dict[str, str] = {}
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 20
    while loop.time() < deadline:
        found = dict(await proxy.health.problems())
        if wanted(found):
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"last seen: {found}")


async def test_without_nats_the_proxy_accepts_associations_is_not_ready_and_answers_a_failure(
    tmp_path: Path,
) -> None:
    settings = local(tmp_path, f"nats://127.0.0.1:{free_port()}")
    async with running(settings) as proxy:
        found = await problems(proxy, lambda found: "refused" in found.get("nats", ""))
        assert list(found) == ["nats"]
        ended = await modalities.echoscu(Peer(*proxy.address), "-v")
        assert "0xa700" in ended.output.lower()


async def test_with_nobody_behind_nats_the_path_is_named(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats")
    async with running(local(tmp_path, server.url)) as proxy:
        server.start()
        try:
            found = await problems(proxy, lambda found: "path" in found and "nats" not in found)
            assert found["path"]
        finally:
            server.kill()
        await problems(proxy, lambda found: "nats" in found)
