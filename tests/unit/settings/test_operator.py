"""What the operator reads from its environment."""

import pytest

from dimse_ingestion.settings import ConfigurationMistake, OperatorSettings


def test_without_a_word_it_watches_everything() -> None:
    settings = OperatorSettings.load()
    assert settings.namespaces == ()
    assert settings.defaults == {}
    assert settings.identity


def test_namespaces_and_defaults_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIMSE_OPERATOR_NAMESPACES", "imaging, cardiology")
    monkeypatch.setenv("DIMSE_OPERATOR_DEFAULTS", '{"ingestion": {"podLabels": {"a": "b"}}}')
    settings = OperatorSettings.load()
    assert settings.namespaces == ("imaging", "cardiology")
    assert settings.defaults == {"ingestion": {"podLabels": {"a": "b"}}}


@pytest.mark.parametrize(
    ("name", "written", "message"),
    [
        ("DIMSE_OPERATOR_DEFAULTS", "[1]", "it is no map of values"),
        ("DIMSE_OPERATOR_DEFAULTS", "{", "it is not JSON"),
        ("DIMSE_OPERATOR_LEASE_SECONDS", "1", "greater than or equal to 5"),
        ("DIMSE_OPERATOR_RESYNC", "0", "greater than 0"),
    ],
)
def test_a_mistake_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, written: str, message: str
) -> None:
    monkeypatch.setenv(name, written)
    with pytest.raises(ConfigurationMistake, match=f"{name}: .*{message}"):
        OperatorSettings.load()
