import pytest

from dimse_ingestion.transport.nats.server_urls import AddressError, parse_servers


@pytest.mark.parametrize(
    ("address", "secure", "urls"),
    [
        ("nats.example:4222", True, ["tls://nats.example:4222"]),
        ("nats.example:4222", False, ["nats://nats.example:4222"]),
        ("nats.example", True, ["tls://nats.example:4222"]),
        ("nats://nats.example:1", True, ["nats://nats.example:1"]),
        ("tls://nats.example", False, ["tls://nats.example:4222"]),
        ("wss://nats.example/", True, ["wss://nats.example:443"]),
        ("ws://nats.example:8080", True, ["ws://nats.example:8080"]),
        ("a:1, b:2 ,tls://c:3", False, ["nats://a:1", "nats://b:2", "tls://c:3"]),
        ("tls://[::1]:4222", True, ["tls://[::1]:4222"]),
    ],
)
def test_every_way_to_write_an_address(address: str, secure: bool, urls: list[str]) -> None:
    assert [server.url for server in parse_servers(address, secure=secure)] == urls
    assert [each.url for each in parse_servers(address.split(","), secure=secure)] == urls


def test_only_tls_and_wss_are_encrypted() -> None:
    servers = parse_servers("nats://a,tls://b,ws://c,wss://d")
    assert [server.encrypted for server in servers] == [False, True, False, True]
    assert [server.websocket for server in servers] == [False, False, True, True]


@pytest.mark.parametrize(
    "address", ["http://a:1", "a:port", "a:99999", "tls://", "tls://a:1/path", "a b"]
)
def test_an_invalid_address_is_refused_with_the_right_form(address: str) -> None:
    with pytest.raises(AddressError, match="give host:port"):
        parse_servers(address)


@pytest.mark.parametrize("address", ["", " , ", []])
def test_a_missing_address_is_refused(address: str | list[str]) -> None:
    with pytest.raises(AddressError, match="No NATS address"):
        parse_servers(address)


def test_a_credential_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(AddressError, match="take it out") as mistake:
        parse_servers("nats://someone:s3cret@nats.example:4222")
    assert "s3cret" not in str(mistake.value)
