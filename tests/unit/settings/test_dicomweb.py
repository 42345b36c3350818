from typing import Any

import pytest

from dimse_ingestion.settings import ConfigurationMistake, DicomwebSettings

NEEDED: dict[str, Any] = {
    "provider_name": "p",
    "event_sink": "http://c/events",
    "query_endpoint": "http://c",
}


def test_the_defaults_are_those_of_the_chart() -> None:
    settings = DicomwebSettings.load(**NEEDED)
    assert (settings.dicomweb_port, settings.http_port, settings.access) == (8081, 8080, "off")


def test_lists_are_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICOMWEB_CORS_ORIGINS", "https://a.example, https://b.example")
    monkeypatch.setenv("DICOMWEB_TRUSTED_PROXIES", "10.0.0.0/8")
    settings = DicomwebSettings.load(**NEEDED)
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert len(settings.trusted_proxies) == 1


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ({"access": "bearer"}, "set DICOMWEB_JWKS_URL, DICOMWEB_TOKEN_ISSUER"),
        ({"access": "header"}, "set DICOMWEB_TRUSTED_PROXIES"),
        ({"access": "guess"}, "DICOMWEB_AUTH"),
        ({"external_address": "pacs.example"}, "DICOMWEB_EXTERNAL_ADDRESS"),
    ],
)
def test_what_cannot_be_is_a_sentence(output: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationMistake, match=sentence):
        DicomwebSettings.load(**NEEDED, **output)
