from pathlib import Path

import pytest

from dimse_ingestion.settings import DicomwebSettings, ProxySettings, state
from dimse_ingestion.settings.state import state_directory


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a user with a home who may not write to the system's folder."""
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(state, "_SYSTEM", tmp_path / "none" / "dimse")


def test_the_state_folder_is_that_of_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/one:/var/lib/other")
    assert state_directory("spool") == Path("/var/lib/one/spool")


@pytest.mark.parametrize("exists", [True, False])
def test_it_is_the_systems_for_whoever_may_write_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    monkeypatch.setattr(state, "_SYSTEM", tmp_path / "dimse")
    if exists:
        (tmp_path / "dimse").mkdir()
    assert state_directory("spool") == tmp_path / "dimse" / "spool"


def test_it_is_the_users_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert state_directory("spool") == tmp_path / "home/.local/state/dimse/spool"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert state_directory("spool") == tmp_path / "xdg/dimse/spool"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert state_directory("spool") == tmp_path / "home/.local/state/dimse/spool"


def test_spools_are_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/dimse")
    for settings_class, name in ((ProxySettings, "spool"), (DicomwebSettings, "dicomweb-spool")):
        default = settings_class.model_fields["spool_directory"].get_default(
            call_default_factory=True
        )
        assert default == Path("/var/lib/dimse") / name
