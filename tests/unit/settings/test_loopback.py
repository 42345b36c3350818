import pytest

from dimse_ingestion.settings.loopback import is_loopback, is_open_http


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"])
def test_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "10.0.0.1", "localhost.example", "core"])
def test_another_machine(host: str) -> None:
    assert not is_loopback(host)


def test_only_plain_http_to_another_machine_is_open() -> None:
    assert is_open_http("http://core-catalogue:8080/events")
    assert not is_open_http("https://core-catalogue:8443/events")
    assert not is_open_http("http://127.0.0.1:8080/events")
    assert not is_open_http("http://[::1]:8080/events")
