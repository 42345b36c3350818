"""The end of a command that can't do its work: one sentence for each mistake, and an exit status.

For errors that the user can correct: settings, files, addresses, a missing part of the
installation. A bug of this software keeps its traceback, which a report needs.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from dimse_ingestion.settings import ConfigurationMistake, MountedMissing

WRONG_CONFIGURATION = 2
_FAILED = 1


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """Exit with status 2 for a wrong configuration, with 1 for an error of the system."""
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
    """Exit with status 2 when an import within the block fails for want of an extra."""
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
