"""DCMTK's tools at the proxy's real acceptor, with a transport in memory behind it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import nullcontext
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from dimse_ingestion.failures import Unavailable
from dimse_ingestion.proxy.service import ProxyDependencies, RunningProxy, open_proxy
from dimse_ingestion.proxy.space import SpaceDependencies
from dimse_ingestion.transport.protocol.messages import FindMatch, StoreOpen, StoreResult
from dimse_ingestion.upper_layer.acceptor import Acceptor
from harness import modalities
from harness.modalities import Ended, Peer
from tests.unit.proxy.fakes import FakeRequester, proxy_settings

pytestmark = pytest.mark.skipif(bool(modalities.missing()), reason=modalities.missing())

MATCH = b"\x20\x00\x0d\x00\x04\x00\x00\x001.2\0"  # Study Instance UID, implicit little endian


@pytest.fixture
def requester() -> FakeRequester:
    return FakeRequester()


@pytest.fixture
async def proxy(tmp_path: Path, requester: FakeRequester) -> AsyncIterator[RunningProxy]:
    settings = proxy_settings(
        host="127.0.0.1",
        port=0,
        http_host="127.0.0.1",
        http_port=0,
        spool_directory=tmp_path / "spool",
        maximum_matches=50,
        calling_ae_titles=("MODALITY",),
    )
    connection = SpaceDependencies(requester, transport_problem=lambda: "")
    wires = ProxyDependencies(Acceptor, lambda _: nullcontext(connection))
    async with open_proxy(settings, wires) as proxy:
        yield proxy


async def at(
    proxy: RunningProxy, tool: str, *files: str, options: tuple[str, ...] = (), **peer: str
) -> Ended:
    host, port = proxy.address
    return await modalities.ran(*modalities.command(tool, Peer(host, port, **peer), options, files))


def ct() -> str:
    return str(get_testdata_file("CT_small.dcm", download=False))


async def test_an_echo_tells_how_the_whole_path_is(
    proxy: RunningProxy, requester: FakeRequester
) -> None:
    assert (await at(proxy, "echoscu")).status == 0
    requester.echo_result = Unavailable("No ingestion service listens")
    failed = await at(proxy, "echoscu", options=("-v",))
    assert "0xa700" in failed.output.lower()


async def test_a_stored_file_arrives_with_the_digest_of_what_was_sent(
    proxy: RunningProxy, requester: FakeRequester
) -> None:
    assert (await at(proxy, "storescu", ct())).status == 0
    (carried,) = requester.carried
    assert dcmread(BytesIO(carried), force=True).PixelData == dcmread(ct()).PixelData
    (open_,) = (each for each in requester.opens if isinstance(each, StoreOpen))
    assert open_.sha256 == hashlib.sha256(carried).hexdigest()


async def test_a_failed_store_is_answered_with_its_reason(
    proxy: RunningProxy, requester: FakeRequester
) -> None:
    requester.store_result = StoreResult(status=0xA700, comment="The bucket is away")
    ended = await at(proxy, "storescu", ct(), options=("-d",))
    assert ended.status != 0
    assert "0xa700" in ended.output.lower()
    assert "The bucket is away" in ended.output


async def test_matches_come_back_until_the_end(
    proxy: RunningProxy, requester: FakeRequester
) -> None:
    requester.matches = [FindMatch(status=0xFF00, identifier=MATCH)] * 3
    query = ("-S", "-v", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID")
    ended = await at(proxy, "findscu", options=query)
    assert ended.status == 0
    assert ended.output.count("Find Response:") + ended.output.count("(Pending)") >= 3
    assert "Success" in ended.output


async def test_a_cancel_in_the_middle_ends_the_query(
    proxy: RunningProxy, requester: FakeRequester
) -> None:
    requester.matches = [FindMatch(status=0xFF00, identifier=MATCH)] * 5
    requester.endless = True
    query = (
        "-S",
        "-d",
        "--cancel",
        "2",
        "-k",
        "QueryRetrieveLevel=STUDY",
        "-k",
        "StudyInstanceUID",
    )
    ended = await at(proxy, "findscu", options=query)
    assert "Cancel" in ended.output
    assert requester.findings[0].is_cancelled


async def test_too_many_matches_end_with_a700(
    proxy: RunningProxy, requester: FakeRequester
) -> None:
    requester.matches = [FindMatch(status=0xFF00, identifier=MATCH)] * 51
    query = ("-S", "-d", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID")
    ended = await at(proxy, "findscu", options=query)
    assert "More than 50 matches" in ended.output


async def test_strangers_are_rejected_with_the_reason(proxy: RunningProxy) -> None:
    called = await at(proxy, "echoscu", called="OTHER")
    assert "Called AE Title Not Recognized" in called.output
    calling = await at(proxy, "echoscu", calling="STRANGER")
    assert "Calling AE Title Not Recognized" in calling.output


async def test_many_at_once_each_keep_their_own(
    proxy: RunningProxy, requester: FakeRequester
) -> None:
    ended = await asyncio.gather(*(at(proxy, "storescu", ct()) for _ in range(6)))
    assert [each.status for each in ended] == [0] * 6
    assert len({each.operation_id for each in requester.opens if isinstance(each, StoreOpen)}) == 6
    assert len(set(requester.carried)) == 1
