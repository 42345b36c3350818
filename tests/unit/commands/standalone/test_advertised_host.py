import socket

import pytest

from dimse_ingestion.commands.standalone.advertised_host import advertised_host


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "10.1.2.3", "pacs.example"])
def test_a_host_is_named_as_it_is(host: str) -> None:
    assert advertised_host(host) == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "0:0:0:0:0:0:0:0", ""])
def test_for_all_addresses_one_is_named_that_can_be_reached(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, 0), family=family, dualstack_ipv6=":" in host)
    except OSError:
        pytest.skip("This machine has no IPv6.")
    with listening:
        address = advertised_host(host), listening.getsockname()[1]
        assert address[0] not in ("0.0.0.0", "::", "")
        socket.create_connection(address, timeout=10).close()


def test_without_a_way_out_this_machine_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_way(*_: object) -> None:
        raise OSError("unreachable")

    monkeypatch.setattr(socket, "socket", no_way)
    assert (advertised_host("0.0.0.0"), advertised_host("::")) == ("127.0.0.1", "::1")
