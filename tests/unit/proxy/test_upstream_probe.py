import asyncio

import pytest

from dimse_ingestion.failures import Unavailable
from dimse_ingestion.proxy.upstream_probe import UpstreamProbe
from dimse_ingestion.transport.protocol.messages import EchoResult
from tests.unit.proxy.fakes import FakeRequester


@pytest.fixture
def requester() -> FakeRequester:
    return FakeRequester()


async def test_the_way_counts_as_closed_until_an_echo_proves_it(requester: FakeRequester) -> None:
    path = UpstreamProbe(requester, "DICOM-INGEST", lambda: "")
    assert path.problem == "No echo has reached the bucket and the catalogue yet."
    await path.probe()
    assert path.problem == ""
    await path.wait_until_open()


async def test_an_upstream_error_is_reported_until_it_ends(requester: FakeRequester) -> None:
    path = UpstreamProbe(requester, "DICOM-INGEST", lambda: "")
    requester.echo_result = EchoResult(status=0x0110, catalogue="The catalogue is away")
    await path.probe()
    assert path.problem == "The catalogue is away"
    requester.echo_result = Unavailable("No ingestion service listens")
    await path.probe()
    assert path.problem == "No ingestion service listens"
    requester.echo_result = EchoResult(status=0x0110)
    await path.probe()
    assert path.problem == "The ingestion service answered 0110H."
    requester.echo_result = EchoResult(status=0)
    await path.probe()
    assert path.problem == ""


async def test_the_watch_goes_on_after_a_mistake_of_ours(
    requester: FakeRequester, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = UpstreamProbe(requester, "DICOM-INGEST", lambda: "", pause_while_closed=0)
    calls = 0

    async def fails_twice(_: object) -> EchoResult:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise KeyError("patient")
        return EchoResult(status=0)

    monkeypatch.setattr(requester, "echo", fails_twice)
    watching = asyncio.create_task(path.watch())
    await asyncio.wait_for(path.wait_until_open(), 60)
    watching.cancel()
    assert calls == 3


async def test_no_echo_is_sent_while_the_transport_is_down(requester: FakeRequester) -> None:
    problem = ["NATS is not reached"]
    path = UpstreamProbe(requester, "DICOM-INGEST", lambda: problem[0])
    await path.probe()
    assert path.problem == "NATS is not reached"
    assert requester.opens == []
    problem[0] = ""
    await path.probe()
    assert path.problem == ""


async def test_a_doubt_looks_again_at_once() -> None:
    requester = FakeRequester()
    path = UpstreamProbe(requester, "DICOM-INGEST", lambda: "", pause=3600)
    watching = asyncio.create_task(path.watch())
    await asyncio.wait_for(path.wait_until_open(), 60)
    requester.echo_result = Unavailable("away")
    path.request_probe()
    for _ in range(100):
        await asyncio.sleep(0)
    assert path.problem == "away"
    watching.cancel()
