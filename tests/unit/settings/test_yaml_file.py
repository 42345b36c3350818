from pathlib import Path

import pytest

from dimse_ingestion.settings import ConfigurationMistake
from dimse_ingestion.settings.yaml_file import read_settings

NAMES = {"ae_title": "DIMSE_AE", "nats_url": "DIMSE_NATS_URL", "port": "DIMSE_PORT"}


def refused(file: Path) -> str:
    with pytest.raises(ConfigurationMistake) as mistake:
        read_settings(file, NAMES)
    (sentence,) = mistake.value.sentences
    assert "\n" not in sentence
    return sentence


def test_settings_are_read_in_camel_or_snake_case_and_sections(tmp_path: Path) -> None:
    file = tmp_path / "proxy.yaml"
    file.write_text("aeTitle: CT1\nnats: {url: 'n:1'}\nport: null\n")
    assert read_settings(file, NAMES) == {"ae_title": "CT1", "nats_url": "n:1"}


def test_an_empty_file_has_no_settings(tmp_path: Path) -> None:
    (tmp_path / "proxy.yaml").touch()
    assert read_settings(tmp_path / "proxy.yaml", NAMES) == {}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("port: 1\naeTitle: [", "line 2, column 11: expected the node content"),
        ("port: 1\n\tport: 2", "line 2, column 1: found character"),
        ("aeTitle: A\nport: 1\naeTitle: B", "line 3, column 1: the key aeTitle stands twice."),
        ("nats:\n  url: a\n  url: b", "line 3, column 3: the key url stands twice."),
        ("a: 1\n---\nb: 1", "line 2, column 1: but found another document."),
        ("a: *b", "line 1, column 4: found undefined alias"),
        ("!!python/object:os.system {}", "line 1, column 1: could not determine a constructor"),
        ("? [a, b]\n: x", "line 1, column 3: found unhashable key"),
        ("{}{}", "line 1, column 3: expected"),
        ("port: 2001-99-99", "is not YAML of settings"),
        ("[" * 20000, "is not YAML of settings"),
        ("nats: &n {url: a, nats: *n}", "nests sections more than 4 deep: give `key: value`"),
        ("a: \x01", "remove the character U+0001."),
        ("aeTitle: A\nae_title: B", "ae_title is given twice: keep one of them."),
        ("natsUrl: a\nnats: {url: b}", "nats_url is given twice: keep one of them."),
        ("- a", "must hold settings as `key: value` lines."),
        ("text", "must hold settings as `key: value` lines."),
        ("aeTitel: X", "ae_titel is not a setting: did you mean ae_title?"),
        ("zzz: X", "zzz is not a setting: the settings are ae_title, nats_url, port."),
        ("1: X", "1 is not a setting"),
    ],
)
def test_what_is_no_file_of_settings_is_one_sentence(
    tmp_path: Path, content: str, sentence: str
) -> None:
    file = tmp_path / "proxy.yaml"
    file.write_text(content)
    message = refused(file)
    assert message.startswith(str(file))
    assert sentence in message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert refused(tmp_path / "none").endswith("can't be read: No such file or directory.")
    assert refused(tmp_path).endswith("can't be read: Is a directory.")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    assert refused(tmp_path / "bytes").endswith("is not UTF-8 text.")
