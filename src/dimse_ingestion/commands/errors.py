"""How a command ends that can't do its work: one sentence for each mistake, and an exit status.

For what the user can put right: settings, files, addresses, a missing part of the installation.
An exception that is a mistake of this software keeps its traceback, which its report needs.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from dimse_ingestion.settings import ConfigurationMistake, MountedMissing

WRONG_CONFIGURATION = 2
_FAILED = 1


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """End with status 2 for a wrong configuration, with 1 for what the system refuses."""
    try:
        yield
    except ConfigurationMistake as mistake:
        _end(WRONG_CONFIGURATION, mistake.sentences)
    except MountedMissing as missing:
        _end(WRONG_CONFIGURATION, (str(missing),))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _end(_FAILED, (f"{where}{error.strerror or error}.",))


@contextmanager
def requires_extra(extra: str) -> Iterator[None]:
    """End with status 2 when a module is imported within that another extra installs."""
    try:
        yield
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] == __name__.partition(".")[0]:
            raise
        needed = f"This command needs the extra `{extra}` ({missing.name} is not installed)"
        _end(WRONG_CONFIGURATION, (f"{needed}: pip install 'dimse-ingestion[{extra}]'.",))


def _end(status: int, sentences: tuple[str, ...]) -> None:
    for sentence in sentences:
        typer.echo(sentence, err=True)
    raise typer.Exit(status) from None
