from ipaddress import ip_network
from pathlib import Path

import pytest
from pydantic import ValidationError

from dimse_ingestion.settings import (
    CatalogueSettings,
    ConfigurationMistake,
    IngestionSettings,
    ProxySettings,
)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for settings in (ProxySettings, IngestionSettings, CatalogueSettings):
        for name in settings.names().values():
            monkeypatch.delenv(name, raising=False)


def sentences() -> str:
    with pytest.raises(ConfigurationMistake) as mistake:
        ProxySettings.load()
    return str(mistake.value)


def test_the_original_names_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIMSE_AE", "RADIOLOGY")
    monkeypatch.setenv("DIMSE_PORT", "104")
    monkeypatch.setenv("DIMSE_NATS_URL", "nats.example:4222")
    monkeypatch.setenv("DIMSE_NATS_SUBJECT_ROOT", "RAD.CT")
    settings = ProxySettings.load()
    assert (settings.ae_title, settings.port) == ("RADIOLOGY", 104)
    assert settings.nats_url == "nats.example:4222"
    assert settings.nats_subject_root == "RAD.CT"


def test_a_variable_that_is_missing_is_named() -> None:
    assert sentences() == "DIMSE_NATS_URL is not set: it has no default."


def test_all_missing_are_named_at_once() -> None:
    with pytest.raises(ConfigurationMistake) as mistake:
        IngestionSettings.load(nats_url="nats:4222")
    named = [sentence.split()[0] for sentence in mistake.value.sentences]
    assert named == ["PROVIDER_NAME", "K_SINK", "QUERY_ENDPOINT"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("DIMSE_AE", "A-TITLE-FAR-TOO-LONG", "16 is the most"),
        ("DIMSE_PORT", "eleven", "DIMSE_PORT: "),
        ("DIMSE_PORT", "70000", "DIMSE_PORT: "),
        ("DIMSE_CALLING_AE_TITLES", "CT1,A\\B", "DIMSE_CALLING_AE_TITLES: "),
        ("DIMSE_SOURCE_NETWORKS", "10.1.2.3/8", "give networks like"),
        ("DIMSE_IMAGE_SOP_CLASSES", "CTImageStorage", "is not a UID"),
        ("DIMSE_SPOOL_LIMIT", "many", "is not a size"),
        ("DIMSE_NATS_URL", "http://nats:4222", "is not a NATS address"),
        ("DIMSE_NATS_SUBJECT_ROOT", "DIMSE.>", "NATS subject"),
        ("DIMSE_PROXY_ID", "a.b", "has a dot"),
        ("DIMSE_TLS_CLIENT_CA_PATH", "/nowhere/ca.pem", "there is no file /nowhere/ca.pem"),
        ("DIMSE_OPERATION_TIMEOUT", "0", "DIMSE_OPERATION_TIMEOUT: "),
        ("DIMSE_LOG_LEVEL", "loud", "DIMSE_LOG_LEVEL: "),
    ],
)
def test_a_wrong_value_is_a_sentence_with_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv("DIMSE_NATS_URL", "nats:4222")
    monkeypatch.setenv(name, value)
    all_sentences = sentences()
    assert all_sentences.startswith(f"{name}: ")
    assert message in all_sentences


def test_a_secret_is_in_no_sentence_and_no_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIMSE_NATS_AUTH_TOKEN", "hush")
    settings = ProxySettings.load(nats_url="nats:4222")
    assert "hush" not in repr(settings)
    assert settings.nats_auth_token.get_secret_value() == "hush"


@pytest.mark.parametrize(
    ("written", "bytes_"), [("4096", 4096), ("512Mi", 512 * 2**20), ("2 GB", 2 * 10**9)]
)
def test_sizes_are_written_as_kubernetes_does(written: str, bytes_: int) -> None:
    assert ProxySettings.load(nats_url="n:1", spool_limit=written).spool_limit == bytes_


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIMSE_CALLING_AE_TITLES", " CT1 , MR2 ")
    monkeypatch.setenv("DIMSE_SOURCE_NETWORKS", "10.0.0.0/8,fd00::/8")
    settings = ProxySettings.load(nats_url="n:1")
    assert settings.calling_ae_titles == ("CT1", "MR2")
    assert settings.source_networks == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIMSE_AE", "")
    assert ProxySettings.load(nats_url="n:1").ae_title == "DICOM-INGEST"


def test_settings_are_frozen() -> None:
    settings = ProxySettings.load(nats_url="n:1")
    with pytest.raises(ValidationError):
        settings.port = 104


def test_the_file_is_read_in_camel_or_snake_case_and_sections(tmp_path: Path) -> None:
    file = tmp_path / "proxy.yaml"
    file.write_text(
        "aeTitle: RAD\nnats:\n  url: nats:4222\n  subjectRoot: R\ncalling_ae_titles: [CT1, MR2]\n"
    )
    settings = ProxySettings.load(file)
    assert (settings.ae_title, settings.nats_url, settings.nats_subject_root) == (
        "RAD",
        "nats:4222",
        "R",
    )
    assert settings.calling_ae_titles == ("CT1", "MR2")


def test_argument_beats_environment_beats_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "proxy.yaml"
    file.write_text("natsUrl: file:1\naeTitle: FILE\nport: 1\n")
    monkeypatch.setenv("DIMSE_AE", "ENVIRONMENT")
    monkeypatch.setenv("DIMSE_PORT", "2")
    settings = ProxySettings.load(file, port=3)
    assert (settings.nats_url, settings.ae_title, settings.port) == ("file:1", "ENVIRONMENT", 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("aeTitel: X", "ae_titel is not a setting: did you mean ae_title?"),
        ("natsUrl: n:1\nport: eleven", "proxy.yaml: port: "),
        ("- a list", "must hold settings"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_wrong_file_is_a_sentence(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "proxy.yaml"
    file.write_text(content)
    with pytest.raises(ConfigurationMistake, match=message):
        ProxySettings.load(file)


def test_a_file_that_is_missing_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationMistake, match="can't be read: No such file"):
        ProxySettings.load(tmp_path / "proxy.yaml")


def test_every_setting_has_an_environment_name() -> None:
    for settings in (ProxySettings, IngestionSettings, CatalogueSettings):
        names = settings.names()
        assert all(name.isupper() for name in names.values())
        assert len(set(names.values())) == len(names)
