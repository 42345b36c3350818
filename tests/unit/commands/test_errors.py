import errno

import pytest
import typer

from dimse_ingestion.commands.errors import errors_as_sentences, requires_extra
from dimse_ingestion.settings import ConfigurationMistake, MountedMissing


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ConfigurationMistake(["one.", "two [/x]."]), 2, "one.\ntwo [/x].\n"),
        (MountedMissing("Missing Secret: create it."), 2, "Missing Secret: create it.\n"),
        (OSError(errno.ENOSPC, "No space left", "/data/x"), 1, "/data/x: No space left.\n"),
        (OSError("nothing known"), 1, "nothing known.\n"),
    ],
)
def test_what_the_user_can_put_right_is_sentences(
    error: Exception, status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended, errors_as_sentences():
        raise error
    assert ended.value.exit_code == status
    assert capsys.readouterr().err == message


def test_a_mistake_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(RuntimeError), errors_as_sentences():
        raise RuntimeError


def test_a_missing_extra_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, requires_extra("operator"):
        raise ModuleNotFoundError("No module named 'kopf'", name="kopf")
    assert ended.value.exit_code == 2
    assert capsys.readouterr().err == (
        "This command needs the extra `operator` (kopf is not installed): "
        "pip install 'dimse-ingestion[operator]'.\n"
    )


def test_a_missing_module_of_ours_is_our_mistake() -> None:
    with pytest.raises(ModuleNotFoundError), requires_extra("operator"):
        raise ModuleNotFoundError("No module", name="dimse_ingestion.nowhere")
