"""The audit trail of a proxy in this process: who is turned away, without NATS."""

import asyncio
import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from dimse_ingestion.proxy.app import running
from dimse_ingestion.settings import ProxySettings
from harness import modalities
from harness.modalities import Peer
from harness.ports import free_port
from tests.audit_repository import Received, Repository, certificates, udp_repository

pytestmark = pytest.mark.skipif(bool(modalities.missing()), reason=modalities.missing())

ALERT = "Security Alert"


def settings(folder: Path, repository: Repository, **more: Any) -> ProxySettings:
    return ProxySettings.load(
        nats_url=f"nats://127.0.0.1:{free_port()}",
        nats_tls_enabled=False,
        host="127.0.0.1",
        port=0,
        http_host="127.0.0.1",
        http_port=0,
        spool_directory=folder / "spool",
        audit_directory=folder / "audit",
        audit_repository=repository.address,
        drain_timeout=1.0,
        **more,
    )


async def alert(repository: Repository) -> Received:
    (message,) = await asyncio.to_thread(repository.wait_for_event, ALERT)
    return message


async def test_an_address_outside_the_networks_is_an_alert(tmp_path: Path) -> None:
    with udp_repository() as repository:
        given = settings(tmp_path, repository, source_networks="10.0.0.0/8")
        async with running(given) as proxy:
            for _ in range(3):
                await modalities.echoscu(Peer(*proxy.address, calling="EVIL"))
            message = await alert(repository)
        assert message.participants[1][0] == "EVIL"
        assert message.object("110182").get("ParticipantObjectID") == "127.0.0.1"
        repeated = repository.wait_for_event(ALERT, 2)[1]
        assert repeated.detail("110182", "Repetitions") == b"2"


async def test_a_congested_proxy_rejects_without_an_alert(tmp_path: Path) -> None:
    with udp_repository() as repository:
        given = settings(tmp_path, repository, maximum_associations=1)
        async with running(given) as proxy:
            proxy.spaces[0].admission.draining = True
            ended = await modalities.echoscu(Peer(*proxy.address))
            assert ended.status != 0
        await asyncio.to_thread(repository.wait_for, lambda each: each.type == "Application Stop")
        assert ALERT not in {each.event for each in repository.messages}


@pytest.mark.parametrize("has_tls", [True, False])
async def test_a_peer_without_certificate_or_without_tls_is_an_alert(
    tmp_path: Path, has_tls: bool
) -> None:
    own = certificates(tmp_path)
    with udp_repository() as repository:
        given = settings(
            tmp_path,
            repository,
            tls_certificate_path=own.client_certificate,
            tls_key_path=own.client_key,
            tls_client_ca_path=own.authority,
        )
        async with running(given) as proxy:
            if has_tls:
                await asyncio.to_thread(_connect, proxy.address, own.authority)
            else:
                await modalities.echoscu(Peer(*proxy.address))
            message = await alert(repository)
    assert message.type == "Node Authentication"
    assert message.participants[1][0] == "127.0.0.1"
    assert b"certificate" in message.detail("110182", "Alert Description")


def _connect(address: tuple[str, int], authority: Path) -> None:
    """Connect by TLS without a certificate of our own, until the other side closes."""
    context = ssl.create_default_context(cafile=str(authority))
    with socket.create_connection(address) as plain:
        name = "proxy.hospital.example"
        with suppress(OSError), context.wrap_socket(plain, server_hostname=name) as connection:
            connection.recv(1)
