"""The list of peers: an entry is complete, or is refused with a sentence that says why."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from dimse_ingestion.settings import ConfigurationMistake, Peer, ProxySettings

WORKSTATION = {"aeTitle": "WS1", "host": "10.1.2.3", "port": 11112, "may": ["move"]}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*ProxySettings.names().values(), *ProxySettings.other_names):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DIMSE_NATS_URL", "nats:4222")


def refused(peers: object, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("DIMSE_PEERS", json.dumps(peers))
    with pytest.raises(ConfigurationMistake) as mistake:
        ProxySettings.load()
    (sentence,) = mistake.value.sentences
    assert sentence.startswith("DIMSE_PEERS: ")
    return sentence.removeprefix("DIMSE_PEERS: ")


def test_file_and_variable_have_the_same_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [
        WORKSTATION,
        {"ae_title": "CT1", "host": "ct1", "port": 2762, "tls": True, "maximumAssociations": 2},
        {"aeTitle": "VIEWER", "may": ["get"], "host": None},
    ]
    (tmp_path / "proxy.yaml").write_text(yaml.safe_dump({"peers": entries}))
    from_file = ProxySettings.load(tmp_path / "proxy.yaml")
    monkeypatch.setenv("DIMSE_PEERS", json.dumps(entries))
    assert ProxySettings.load().peers == from_file.peers
    workstation, modality, viewer = from_file.peers
    assert workstation.address == ("10.1.2.3", 11112)
    assert workstation.may == {"move"}
    assert (workstation.tls, workstation.maximum_associations) == (False, 4)
    assert (modality.tls, modality.maximum_associations, modality.may) == (True, 2, frozenset())
    assert viewer.address is None
    assert viewer.may == {"get"}


def test_a_peer_is_found_by_its_exact_title() -> None:
    settings = ProxySettings.load(peers=[WORKSTATION])
    assert settings.peer("WS1") == Peer(
        ae_title="WS1", host="10.1.2.3", port=11112, may=frozenset({"move"})
    )
    assert settings.peer("ws1") is None


def test_without_the_setting_there_are_none() -> None:
    assert ProxySettings.load().peers == ()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"hots": "a"}, "entry 1 (WS1): 'hots' is not a key: did you mean host?"),
        ({"zzzzz": "a"}, "'zzzzz' is not a key: the keys are aeTitle, host, port, tls,"),
        ({"ae_title": "WS1"}, "entry 1 (WS1): aeTitle is given twice."),
        ({"aeTitle": "A-TITLE-FAR-TOO-LONG"}, "entry 1: aeTitle: the AE title 'A-TITLE"),
        ({"aeTitle": None}, "entry 1: aeTitle: it is missing."),
        ({"host": "a b"}, "entry 1 (WS1): host: 'a b' is no host: give its name or IP address."),
        ({"port": 0}, "entry 1 (WS1): port: input should be greater than or equal to 1."),
        ({"port": 65536}, "entry 1 (WS1): port: "),
        ({"port": None}, "entry 1 (WS1): host and port belong together: give both."),
        ({"tls": "maybe"}, "entry 1 (WS1): tls: "),
        ({"tlsServerName": "ws1"}, "tlsServerName is used with TLS only: set tls to true."),
        ({"may": ["store"]}, "entry 1 (WS1): may: input should be 'move', 'get' or 'commit'."),
        ({"maximumAssociations": 0}, "entry 1 (WS1): maximumAssociations: "),
        ({"host": None, "port": None, "may": ["commit"]}, "may has commit, whose report needs"),
        ({"host": None, "port": None, "may": []}, "it has no right and no address"),
    ],
)
def test_a_wrong_entry_is_named_with_its_key(
    change: dict[str, Any], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sentence in refused([WORKSTATION | change], monkeypatch)


@pytest.mark.parametrize(
    ("peers", "sentence"),
    [
        ({"WS1": {}}, "it is no list: give peers like [{aeTitle: WS1"),
        (["WS1"], "entry 1 is no mapping"),
        ([WORKSTATION, WORKSTATION], "the AE title WS1 is given twice: keep one entry for it."),
    ],
)
def test_what_is_no_list_of_peers(
    peers: object, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sentence in refused(peers, monkeypatch)


def test_text_that_is_neither_json_nor_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIMSE_PEERS", "[{")
    with pytest.raises(ConfigurationMistake) as mistake:
        ProxySettings.load()
    assert mistake.value.sentences == (
        "DIMSE_PEERS: it can't be read: give JSON or YAML in one line.",
    )
