from pathlib import Path

import pytest

from dimse_ingestion.settings import MountedMissing, PeerAccess


def test_a_token_is_given_or_mounted(tmp_path: Path) -> None:
    assert PeerAccess().read_tokens() == ()
    assert PeerAccess(token="abc").read_tokens() == ("abc",)
    (tmp_path / "token").write_text("mounted\n")
    assert PeerAccess(token=str(tmp_path / "token")).read_tokens() == ("mounted",)
    assert PeerAccess(token=str(tmp_path)).read_tokens() == ("mounted",)
    (tmp_path / "previous-token").write_text("former\n")
    assert PeerAccess(token=str(tmp_path)).read_tokens() == ("mounted", "former")


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "nötig", "a,b"])
def test_what_is_no_bearer_token_is_not_repeated(token: str) -> None:
    with pytest.raises(MountedMissing, match="DIMSE_CATALOGUE_TOKEN is not a bearer") as missing:
        PeerAccess(token=token).read_tokens()
    assert token not in str(missing.value)
    assert token not in repr(PeerAccess(token=token))


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    access = PeerAccess(
        token=str(tmp_path), authority=tmp_path / "ca.crt", secret_name="core-catalogue"
    )
    with pytest.raises(MountedMissing, match="Missing catalogue Secret core-catalogue"):
        access.read_tokens()
    (tmp_path / "other").write_text("x")
    with pytest.raises(MountedMissing, match="Missing key token in catalogue Secret core-cat"):
        access.read_tokens()
    with pytest.raises(MountedMissing, match=r"Missing key ca.crt in catalogue Secret core-cat"):
        access.read_authority()
    (tmp_path / "ca.crt").write_bytes(b"\xff")
    with pytest.raises(MountedMissing, match="DIMSE_CATALOGUE_CA_PATH has no certificate"):
        access.read_authority()
    (tmp_path / "token").write_text("")
    with pytest.raises(MountedMissing, match="is empty"):
        PeerAccess(token=str(tmp_path / "token")).read_tokens()
