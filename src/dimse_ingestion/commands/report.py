"""The results of checks at a terminal: a line each, `ok`, `wrong` or `warning`.

The checks themselves are the commands' (`check`, `prove`).
"""

from collections.abc import Awaitable, Callable

from rich.console import Console
from rich.text import Text

from dimse_ingestion.failures import Failure
from dimse_ingestion.settings import MountedMissing
from dimse_ingestion.transport.carrier import CarrierDown

Check = Callable[[], Awaitable[None]]
_ERRORS = (Failure, CarrierDown, MountedMissing, ValueError)


class Report:
    """Prints results; `failed` is set by the first failure."""

    def __init__(self, console: Console) -> None:
        self.failed = False
        self._console = console

    def ok(self, subject: str) -> None:
        """Print a success."""
        self._print("ok", "green", subject)

    def fail(self, subject: str, reason: str) -> None:
        """Print a failure and the cure."""
        self.failed = True
        self._print("wrong", "red", f"{subject}: {reason}")

    def warn(self, subject: str, reason: str) -> None:
        """Print what works, though hardly as intended, and the cure."""
        self._print("warning", "yellow", f"{subject}: {reason}")

    async def check(self, subject: str, check: Check, ok: str = "") -> bool:
        """Run a check and print the result; return whether it raised nothing."""
        try:
            await check()
        except _ERRORS as error:
            self.fail(subject, getattr(error, "comment", "") or str(error))
            return False
        self.ok(f"{subject}: {ok}" if ok else subject)
        return True

    def _print(self, word: str, color: str, text: str) -> None:
        """Print a line as it is, without rich's markup."""
        line = Text.assemble((word, color), " " * (8 - len(word)), text)
        self._console.print(line, highlight=False, soft_wrap=True)
