"""TLS to a real nats-server is verified, and nothing is sent without it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dimse_ingestion.transport.nats.tls import TlsFiles
from harness.nats_server import NatsServer, ServerTls, nats_server
from harness.ports import free_port
from tests.nats_clients import QUICK, ReceivedMessages, connected_client, eventually, started_client

SECRET = "do-not-tell-anyone"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ServerTls:
    return ServerTls.made_in(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> ServerTls:
    return ServerTls.made_in(tmp_path_factory.mktemp("strangers"))


@pytest.fixture
def server(tmp_path: Path, tls: ServerTls) -> Iterator[NatsServer]:
    with nats_server(tmp_path / "nats", {"tls": tls.configuration()}) as running:
        yield running


async def _carries(address: str, **settings: Any) -> None:
    received = ReceivedMessages()
    async with connected_client(address, **settings) as client:
        await client.subscribe("a", received)
        bodies = [bytes([index]) * 300_000 for index in range(20)]
        for body in bodies:
            client.publish("a", body, headers={"a": "b"})
            await client.wait_writable()
        await eventually(lambda: len(received.deliveries), len(bodies))
        assert received.bodies == bodies
        assert client.problem == ""


@pytest.mark.parametrize("scheme", ["", "tls://", "nats://"])
async def test_a_server_with_a_certificate_of_the_configured_ca_is_reached(
    server: NatsServer, tls: ServerTls, scheme: str
) -> None:
    await _carries(f"{scheme}{server.address}", tls=TlsFiles(tls.ca_file))


async def test_the_handshake_may_come_first(server: NatsServer, tls: ServerTls) -> None:
    server.configuration["tls"]["handshake_first"] = True
    server.restart()
    files = TlsFiles(tls.ca_file)
    async with started_client(server.url, tls=files, connect_timeout=0.5) as client:
        await eventually(lambda: client.problem, "handshake first")
    await _carries(server.url, tls=files, tls_handshake_first=True)


async def test_a_client_certificate_is_sent_where_it_is_required(
    server: NatsServer, tls: ServerTls
) -> None:
    server.configuration["tls"] = tls.configuration(client_certificates=True)
    server.restart()
    async with started_client(server.url, tls=TlsFiles(tls.ca_file)) as client:
        await eventually(lambda: client.problem, "may require a client certificate")
    files = TlsFiles(tls.ca_file, tls.client_certificate_file, tls.client_key_file)
    await _carries(server.url, tls=files)


async def test_an_untrusted_certificate_is_reported_until_the_ca_is_replaced(
    server: NatsServer, tls: ServerTls, strangers: ServerTls, tmp_path: Path
) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_bytes(strangers.ca_file.read_bytes())
    async with started_client(server.url, tls=TlsFiles(authority)) as client:
        await eventually(lambda: client.problem, "certificate that is not trusted")
        assert "configure the CA that signed it" in client.problem
        authority.write_bytes(tls.ca_file.read_bytes())
        await client.wait_connected(10)


async def test_a_name_missing_in_the_certificate_is_reported(
    server: NatsServer, tls: ServerTls
) -> None:
    address = f"tls://127.0.0.2:{server.port}"
    server.configuration["host"] = "0.0.0.0"
    server.restart()
    async with started_client(address, tls=TlsFiles(tls.ca_file)) as client:
        await eventually(lambda: client.problem, f"{address} has a certificate that is not trusted")


async def test_a_ca_file_without_a_certificate_is_reported(server: NatsServer) -> None:
    async with started_client(server.url, tls=TlsFiles(Path(__file__))) as client:
        await eventually(lambda: client.problem, "CA certificate of NATS can't be read")


async def test_nothing_is_sent_to_a_server_without_tls() -> None:
    received = bytearray()

    async def offers_no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","headers":true,"auth_required":true}\r\n')
        while data := await reader.read(1000):
            received.extend(data)

    port = free_port()
    listening = await asyncio.start_server(offers_no_tls, "127.0.0.1", port)
    keys = {"token": SECRET}
    async with started_client(f"tls://127.0.0.1:{port}", credential=lambda: keys) as client:
        await eventually(lambda: client.problem, "offers no TLS")
        assert SECRET not in client.problem
    listening.close()
    assert bytes(received) == b""


async def test_a_real_server_without_tls_is_refused_too(tmp_path: Path) -> None:
    with nats_server(tmp_path / "plain") as plain:
        async with started_client(f"tls://{plain.address}") as client:
            await eventually(lambda: client.problem, "offers no TLS, so no credential was sent")
            assert not client.connected


async def test_a_killed_server_is_reconnected_to_over_tls(
    server: NatsServer, tls: ServerTls
) -> None:
    changes = list[bool]()
    async with connected_client(server.url, tls=TlsFiles(tls.ca_file)) as client:
        client.on_change(changes.append)
        server.restart()
        await eventually(lambda: changes, [False, True])


@pytest.fixture
def web(tmp_path: Path, tls: ServerTls) -> Iterator[tuple[NatsServer, str]]:
    """Run a server; yield it with its address for WebSocket."""
    port = free_port()
    without_ca = {key: value for key, value in tls.configuration().items() if key != "ca_file"}
    configuration = {"port": port, "host": "127.0.0.1", "tls": without_ca}
    with nats_server(tmp_path / "web", {"websocket": configuration}) as running:
        yield running, f"wss://127.0.0.1:{port}"


async def test_messages_are_carried_over_web_sockets(
    web: tuple[NatsServer, str], tls: ServerTls
) -> None:
    await _carries(web[1], tls=TlsFiles(tls.ca_file))


async def test_a_broken_web_socket_is_reported_at_once_and_reopened(
    web: tuple[NatsServer, str], tls: ServerTls
) -> None:
    server, address = web
    changes = list[bool]()
    async with connected_client(address, tls=TlsFiles(tls.ca_file)) as client:
        client.on_change(changes.append)
        server.kill()
        await eventually(lambda: changes, [False])
        server.start()
        await eventually(lambda: changes, [False, True])


async def test_a_web_socket_with_an_untrusted_certificate_is_reported(
    web: tuple[NatsServer, str], strangers: ServerTls
) -> None:
    async with started_client(web[1], tls=TlsFiles(strangers.ca_file)) as client:
        await eventually(lambda: client.problem, "certificate that is not trusted")


async def test_a_frozen_web_socket_with_bytes_unsent_is_cut(
    web: tuple[NatsServer, str], tls: ServerTls
) -> None:
    server, address = web
    changes = list[bool]()
    async with connected_client(address, tls=TlsFiles(tls.ca_file), **QUICK) as client:
        client.on_change(changes.append)
        server.pause()
        for _ in range(40):
            client.publish("a", bytes(1_000_000))
        await eventually(lambda: changes, [False])
        server.resume()
        await eventually(lambda: (client.connected, client.generation > 1), (True, True))
