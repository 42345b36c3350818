"""Associations to peers: DCMTK's server as a peer, and how many are open to it at once."""

import asyncio
from pathlib import Path

import pytest

from dimse_ingestion.failures import Refused
from dimse_ingestion.proxy.peers import PeerAssociations, echo
from dimse_ingestion.settings import Peer
from dimse_ingestion.upper_layer.requestor_negotiation import ProposedContext
from harness import modalities
from tests.requestor_bytes import IMPLICIT, VERIFICATION
from tests.unit.proxy.fakes import proxy_settings

pytestmark = pytest.mark.skipif(bool(modalities.missing()), reason=modalities.missing())


async def test_no_more_associations_are_open_than_the_peer_allows(tmp_path: Path) -> None:
    with modalities.storescp(tmp_path, "--fork") as server:
        peer = Peer(ae_title="ARCHIVE", host=server.host, port=server.port, maximum_associations=2)
        associations = PeerAssociations(proxy_settings(peers=[peer]))
        now, most = 0, 0
        all_are_open = asyncio.Event()

        async def use() -> None:
            nonlocal now, most
            contexts = [ProposedContext(VERIFICATION, (IMPLICIT,))]
            async with associations.open(peer, "PROXY", contexts) as association:
                now += 1
                most = max(most, now)
                if now == peer.maximum_associations:
                    all_are_open.set()
                await asyncio.wait_for(all_are_open.wait(), 30)
                assert (await association.echo()).status == 0
                now -= 1

        await asyncio.gather(*(use() for _ in range(6)))
    assert most == 2


async def test_a_peer_without_an_address_is_not_connected_to() -> None:
    peer = Peer(ae_title="VIEWER", may=frozenset({"get"}))
    with pytest.raises(Refused, match="VIEWER has no address"):
        await echo(PeerAssociations(proxy_settings(peers=[peer])), peer, "PROXY")
