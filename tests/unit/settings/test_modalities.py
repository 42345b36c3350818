from pathlib import Path

import pytest

from dimse_ingestion.settings import ConfigurationMistake, ProxySettings
from dimse_ingestion.settings.modalities import Modality

EXPECTED = (Modality("CT1", 8 * 3600.0), Modality("MR1"))


def loaded(tmp_path: Path, text: str) -> ProxySettings:
    file = tmp_path / "proxy.yaml"
    file.write_text(f"natsUrl: nats:4222\n{text}\n")
    return ProxySettings.load(file)


def test_a_file_has_a_list(tmp_path: Path) -> None:
    text = "modalities: [{aeTitle: CT1, expectedEvery: 8h}, {aeTitle: MR1}]"
    assert loaded(tmp_path, text).modalities == EXPECTED


def test_the_environment_has_titles_and_durations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIMSE_NATS_URL", "nats:4222")
    monkeypatch.setenv("DIMSE_MODALITIES", "CT1=8h, MR1")
    assert ProxySettings.load().modalities == EXPECTED


@pytest.mark.parametrize(
    ("every", "seconds"), [("90", 90), ("90s", 90), ("30m", 1800), ("2h", 7200), ("7d", 604800)]
)
def test_durations_have_units(tmp_path: Path, every: str, seconds: float) -> None:
    text = f"modalities: [{{aeTitle: CT1, expectedEvery: {every}}}]"
    assert loaded(tmp_path, text).modalities == (Modality("CT1", seconds),)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[{aeTitle: CT1, every: 8h}]", "is no modality"),
        ("[{expectedEvery: 8h}]", "is no modality"),
        ("[{aeTitle: CT1, expectedEvery: often}]", "is no duration"),
        ("[{aeTitle: CT1, expectedEvery: 0}]", "is no duration"),
        ("[{aeTitle: CT1, expectedEvery: true}]", "is no duration"),
        ("[{aeTitle: CT1}, {aeTitle: CT1}]", "given twice"),
        ("[{aeTitle: TOO-LONG-A-TITLE-1}]", "16 is the most"),
        ("{a: 1}", "is not a setting"),
    ],
)
def test_a_mistake_has_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigurationMistake, match=sentence):
        loaded(tmp_path, f"modalities: {text}")
