from pathlib import Path
from typing import Any

import pytest

from dimse_ingestion.settings import ConfigurationMistake, StorageSpaceSettings


def settings(sink: str, endpoint: str, **more: Any) -> StorageSpaceSettings:
    return StorageSpaceSettings.load(
        provider_name="p", event_sink=sink, query_endpoint=endpoint, **more
    )


def test_events_and_queries_to_one_catalogue_have_its_token_and_ca() -> None:
    space = settings(
        "https://core:8443/events",
        "https://core:8443",
        catalogue_token="abc",
        catalogue_ca_path=Path("/c/ca.crt"),
        event_sink_token="other",
    )
    for access in (space.catalogue_access, space.event_sink_access):
        assert (access.token, access.authority) == ("abc", Path("/c/ca.crt"))
    assert space.event_sink_access.url_setting == "K_SINK"


@pytest.mark.parametrize(
    "sink", ["https://broker/ns", "https://core:8444/events", "https://core.other:8443/events"]
)
def test_another_sink_never_gets_the_catalogues_token(sink: str) -> None:
    own = {"event_sink_token": "other", "event_sink_ca_path": Path("/s/ca.crt")}
    space = settings(sink, "https://core:8443", catalogue_token="abc", **own)
    access = space.event_sink_access
    assert (access.token, access.authority) == ("other", Path("/s/ca.crt"))
    assert access.token_setting == "DIMSE_EVENT_SINK_TOKEN"
    assert settings(sink, "https://core:8443", catalogue_token="abc").event_sink_access.token == ""


@pytest.mark.parametrize(
    ("sink", "endpoint", "tokens", "message"),
    [
        (
            "http://core:8080/events",
            "http://core:8080",
            {"catalogue_token": "abc"},
            "DIMSE_CATALOGUE_TOKEN would be sent without TLS: QUERY_ENDPOINT must begin with",
        ),
        (
            "http://broker/ns",
            "https://core:8443",
            {"event_sink_token": "abc"},
            "DIMSE_EVENT_SINK_TOKEN would be sent without TLS: K_SINK must begin with",
        ),
    ],
)
def test_no_token_is_sent_in_the_clear(
    sink: str, endpoint: str, tokens: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigurationMistake, match=message) as mistake:
        settings(sink, endpoint, **tokens)
    assert "abc" not in str(mistake.value)


def test_without_a_token_plain_http_stays_possible() -> None:
    settings("http://broker/ns", "http://core:8080")
    settings("http://127.0.0.1:8080/events", "http://127.0.0.1:8080", catalogue_token="abc")
