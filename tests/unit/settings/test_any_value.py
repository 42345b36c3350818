"""Whatever an operator writes into a setting, it is taken or refused by sentences with its name."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from dimse_ingestion.settings import ConfigurationMistake, ProxySettings, ServiceSettings
from dimse_ingestion.settings.unknown_variables import SERVICES

NEEDED = {
    "DIMSE_NATS_URL": "nats:4222",
    "PROVIDER_NAME": "provider",
    "K_SINK": "http://catalogue/events",
    "QUERY_ENDPOINT": "http://catalogue",
    "DATABASE_URL": "sqlite:////tmp/catalogue.db",
}
TEXTS = (
    *("", " ", "x", "[/x]", "[bold]", "-1", "0", "1e999", "nan", "9" * 30, "9" * 5000, "0x10"),
    *("true", "{}", "[]", '{"a": [}', "a\nb", "a\x1b[31mb", "\x7f", "ä", "\udcff", "%s", "${HOME}"),
    *("/", "/dev/null", "/no/such/file", "/" + "a" * 300, "tcp://10.0.0.1:80", "http://", "://"),
)
VALUES: tuple[object, ...] = (
    *TEXTS, True, -1, 10**40, 1.5, float("inf"), [], ["a", 1, None], {"a": {"b": 1}}, [[]],
)  # fmt: skip


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for service in SERVICES:
        for name in (*service.names().values(), *service.other_names):
            monkeypatch.delenv(name, raising=False)
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)


def judged(service: type[ServiceSettings], file: Path | None = None) -> tuple[str, ...]:
    """Return the sentences that the settings are refused with; none when they are taken."""
    try:
        service.load(file)
    except ConfigurationMistake as mistake:
        return mistake.sentences or ("nothing told",)
    return ()


@pytest.mark.parametrize(
    ("service", "name"),
    [(service, name) for service in SERVICES for name in service.names().values()],
)
def test_any_text_in_a_variable(
    service: type[ServiceSettings], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in TEXTS:
        monkeypatch.setenv(name, text)
        for sentence in judged(service):
            assert name in sentence, text
            assert len(sentence) < 6000
            assert sentence.isprintable(), text


@pytest.mark.parametrize("name", ProxySettings.names())
def test_any_value_in_the_file(name: str, tmp_path: Path) -> None:
    file = tmp_path / "proxy.yaml"
    for value in VALUES:
        written: dict[str, Any] = {"natsUrl": "nats:4222"} | {name: value}
        file.write_text(yaml.safe_dump(written))
        for sentence in judged(ProxySettings, file):
            assert str(file) in sentence or name in sentence.lower(), value


@pytest.mark.parametrize("name", ["DIMSE_HTTP_HOST", "DIMSE_HOST"])
@pytest.mark.parametrize("host", ["a b", "a" * 300, "..", "[::1]", "http://x", "1.2.3.4/8"])
def test_an_address_that_none_can_be(name: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, host)
    (sentence,) = judged(ProxySettings)
    assert sentence.startswith(f"{name}: ")
    assert "is no address to listen on" in sentence


def test_what_kubernetes_sets_for_a_service_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIMSE_PORT", "tcp://10.0.0.1:104")
    (sentence,) = judged(ProxySettings)
    assert "enableServiceLinks" in sentence


def test_blanks_and_line_ends_around_a_value_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIMSE_AE", " CT1 \n")
    monkeypatch.setenv("DIMSE_NATS_AUTH_TOKEN", "a\nb\n")
    settings = ProxySettings.load()
    assert settings.ae_title == "CT1"
    assert settings.nats_auth_token.get_secret_value() == "a\nb"


def test_a_control_character_is_named_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIMSE_NATS_URL", "nats\x1b[31m:4222")
    assert judged(ProxySettings) == (
        "DIMSE_NATS_URL: it has the control character U+001B: remove it.",
    )


def test_the_title_has_two_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "proxy.yaml").write_text("aeTitle: FILE")
    monkeypatch.setenv("DIMSE_AE_TITLE", "CT1")
    assert ProxySettings.load(tmp_path / "proxy.yaml").ae_title == "CT1"
    monkeypatch.setenv("DIMSE_AE", "CT1")
    assert ProxySettings.load().ae_title == "CT1"
    monkeypatch.setenv("DIMSE_AE", "CT2")
    assert judged(ProxySettings) == (
        "DIMSE_AE_TITLE and DIMSE_AE are one setting: set one of them.",
    )


def test_a_mistake_is_reported_by_the_name_that_was_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIMSE_AE_TITLE", "A-TITLE-FAR-TOO-LONG")
    (sentence,) = judged(ProxySettings)
    assert sentence.startswith("DIMSE_AE_TITLE: ")
