import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dimse_ingestion.spooling import directory as folder


def test_a_missing_folder_is_made_and_logged(tmp_path: Path) -> None:
    with capture_logs() as lines:
        folder.create_directory(tmp_path / "state" / "spool")
        folder.create_directory(tmp_path / "state" / "spool")
    assert (tmp_path / "state" / "spool").is_dir()
    assert [(line["log_level"], line["directory"]) for line in lines] == [
        ("warning", str(tmp_path / "state" / "spool"))
    ]


def test_a_new_file_has_no_name_though_its_folder_was_missing(tmp_path: Path) -> None:
    descriptor = folder.open_unnamed(tmp_path / "spool", "operation")
    assert os.write(descriptor, b"data") == 4
    assert os.pread(descriptor, 4, 0) == b"data"
    assert list((tmp_path / "spool").iterdir()) == []
    os.close(descriptor)


def test_a_check_leaves_nothing(tmp_path: Path) -> None:
    folder.check_writable(tmp_path / "spool")
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_file_in_place_of_the_folder_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "spool").touch()
    with pytest.raises(NotADirectoryError):
        folder.check_writable(tmp_path / "spool")


def test_only_leftovers_are_removed(tmp_path: Path) -> None:
    (tmp_path / "0192.dataset").touch()
    (tmp_path / "notes.txt").touch()
    folder.remove_leftovers(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["notes.txt"]


def test_free_space_is_compared_with_the_minimum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert folder.has_free_space(tmp_path)
    monkeypatch.setattr(folder, "_ENOUGH_FREE_SPACE", 2**62)
    assert not folder.has_free_space(tmp_path)
