import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from harness.airgap import pins
from harness.commands import Unusable
from harness.tools import Download, downloads


def test_downloads_are_of_the_pinned_versions() -> None:
    result = downloads("linux", "arm64")
    assert f"/{pins.KIND}/kind-linux-arm64" in result["kind"].url
    assert result["helm"].url.endswith(f"/helm-{pins.HELM}-linux-arm64.tar.gz")
    assert f"/{pins.KUBERNETES}/bin/linux/arm64/" in result["kubectl"].url
    assert all(each.checksum.startswith(each.url) for each in result.values())


def test_a_program_is_taken_out_of_its_archive(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        entry = tarfile.TarInfo("linux-amd64/helm")
        entry.size = 4
        archive.addfile(entry, io.BytesIO(b"helm"))
    content = packed.getvalue()
    (tmp_path / "archive").write_bytes(content)
    (tmp_path / "sum").write_text(f"{hashlib.sha256(content).hexdigest()}  helm.tar.gz\n")
    folder = tmp_path.as_uri()
    got = Download(f"{folder}/archive", f"{folder}/sum", "linux-amd64/helm").fetch()
    assert got == b"helm"


def test_what_is_not_what_its_checksum_says_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kind").write_bytes(b"something else")
    (tmp_path / "sum").write_text(f"{'0' * 64}  kind\n")
    with pytest.raises(Unusable, match="download it again"):
        Download(f"{tmp_path.as_uri()}/kind", f"{tmp_path.as_uri()}/sum").fetch()


def test_what_is_not_reached_is_reported_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="put it on PATH"):
        Download(f"{tmp_path.as_uri()}/none", f"{tmp_path.as_uri()}/sum").fetch()
