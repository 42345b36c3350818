from pathlib import Path

import pytest

from dimse_ingestion.settings import ConfigurationMistake, ProxySettings

TWO = (
    "spaces: [{aeTitle: RADIOLOGY, natsSubjectRoot: RAD}, "
    "{aeTitle: CARDIOLOGY, natsSubjectRoot: CAR}]"
)


def loaded(tmp_path: Path, text: str) -> ProxySettings:
    file = tmp_path / "proxy.yaml"
    file.write_text(f"natsUrl: nats:4222\n{text}\n")
    return ProxySettings.load(file)


def test_without_spaces_the_settings_are_the_only_space(tmp_path: Path) -> None:
    settings = loaded(tmp_path, "aeTitle: RADIOLOGY")
    assert settings.storage_spaces == (settings,)


def test_the_limits_of_the_proxy_are_divided_among_its_spaces(tmp_path: Path) -> None:
    text = f"{TWO}\nmaximumAssociations: 9\nspoolLimit: 8Gi\nspoolDirectory: /spool"
    one, other = loaded(tmp_path, text).storage_spaces
    for each in (one, other):
        assert each.maximum_associations == 4
        assert each.spool_limit == 4 * 2**30
        assert each.spool_memory_in_all == 32 * 2**20
        assert each.storage_spaces == (each,)
    assert (one.ae_title, other.ae_title) == ("RADIOLOGY", "CARDIOLOGY")
    assert (one.nats_subject_root, other.nats_subject_root) == ("RAD", "CAR")
    assert one.spool_directory == Path("/spool/space-RADIOLOGY")


def test_a_space_has_its_own_keys_and_else_the_proxys(tmp_path: Path) -> None:
    text = """
natsAuthToken: for-all
callingAeTitles: [CT1]
spaces:
- aeTitle: A/..
  natsSubjectRoot: A
- aeTitle: B
  natsSubjectRoot: B
  natsAuthToken: own
  acknowledge: stored
  callingAeTitles: [MR1]
  sourceNetworks: [10.1.0.0/16]
  maximumAssociations: 5
  spoolLimit: 1Gi
"""
    one, other = loaded(tmp_path, text).storage_spaces
    assert one.nats_auth_token.get_secret_value() == "for-all"
    assert one.calling_ae_titles == ("CT1",)
    assert one.source_networks == ()
    assert one.spool_directory.name == "space-A%2F.."
    assert other.nats_auth_token.get_secret_value() == "own"
    assert other.calling_ae_titles == ("MR1",)
    assert [str(each) for each in other.source_networks] == ["10.1.0.0/16"]
    assert (other.maximum_associations, other.spool_limit) == (5, 2**30)


def test_the_environment_has_the_same_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIMSE_NATS_URL", "nats:4222")
    monkeypatch.setenv("DIMSE_SPACES", '[{"aeTitle": "A", "natsSubjectRoot": "R"}]')
    assert [each.ae_title for each in ProxySettings.load().storage_spaces] == ["A"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("spaces: [{aeTitle: A}]", r"entry 1 \(A\): natsSubjectRoot: it is missing"),
        ("spaces: [{aeTitle: A, natsSubjectRoot: R, token: t}]", "'token' is not a key"),
        (
            "spaces: [{aeTitle: A, natsSubjectRoot: R}, {aeTitle: A, natsSubjectRoot: S}]",
            "AE title A is given twice",
        ),
        (
            "spaces: [{aeTitle: A, natsSubjectRoot: R}, {aeTitle: B, natsSubjectRoot: R}]",
            "two entries of spaces have the natsSubjectRoot R",
        ),
        (f"{TWO}\naeTitle: A", "DIMSE_AE and spaces exclude each other"),
        (f"{TWO}\ncalledAeTitleMustMatch: false", "MUST_MATCH must be true with spaces"),
        ("spaces: RADIOLOGY", "it is no list: give spaces like"),
    ],
)
def test_a_mistake_has_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigurationMistake, match=sentence):
        loaded(tmp_path, text)


def test_a_mistake_repeats_no_token(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationMistake) as mistake:
        loaded(tmp_path, "spaces: [{aeTitle: A, natsSubjectRoot: R R, natsAuthToken: s3cret}]")
    assert "s3cret" not in str(mistake.value)
