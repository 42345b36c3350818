from pathlib import Path

import pytest

from harness.airgap.machine import os_release, parsed_go_version, unfit

DEBIAN = {"ID": "debian"}


def test_debian_root_and_a_new_go_are_all_it_takes() -> None:
    assert unfit(DEBIAN, 0, (1, 26)) == []
    assert unfit({"ID": "ubuntu", "ID_LIKE": "debian"}, 0, (1, 24)) == []


@pytest.mark.parametrize(
    ("release", "user", "go", "sentence"),
    [
        ({"ID": "fedora", "PRETTY_NAME": "Fedora 44"}, 0, (1, 26), "Fedora 44 is not Debian"),
        (DEBIAN, 1000, (1, 26), "run this as root"),
        (DEBIAN, 0, (), "Go is not installed: put Go 1.24 or newer on PATH"),
        (DEBIAN, 0, (1, 19), "Go 1.19 is too old: put Go 1.24 or newer on PATH"),
    ],
)
def test_what_is_missing_is_reported_with_the_cure(
    release: dict[str, str], user: int, go: tuple[int, ...], sentence: str
) -> None:
    (message,) = unfit(release, user, go)
    assert sentence in message


def test_everything_missing_is_reported_at_once() -> None:
    assert len(unfit({}, 1000, ())) == 3


def test_os_release_is_read_with_and_without_quotes(tmp_path: Path) -> None:
    path = tmp_path / "os-release"
    path.write_text('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n')
    read = os_release(path)
    assert read == {"PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)", "ID": "debian"}
    assert os_release(tmp_path / "none") == {}


def test_go_reports_its_version() -> None:
    assert parsed_go_version("go version go1.26.8 linux/amd64") == (1, 26)
    assert parsed_go_version("go version devel +abc") == ()
