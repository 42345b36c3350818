"""Findings told to an operator at a terminal: a line for each thing looked at, well or wrong.

What is looked at is the commands' matter (`checking`, `proving`).
"""

from collections.abc import Awaitable, Callable

from rich.console import Console
from rich.text import Text

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.settings import MountedMissing
from dimse_ingestion.transport.carrier import CarrierDown

Look = Callable[[], Awaitable[None]]
_TROUBLES = (DimseFailure, CarrierDown, MountedMissing, ValueError)


class Report:
    """Lines for an operator; `failed` once one of them tells of trouble."""

    def __init__(self, console: Console) -> None:
        self.failed = False
        self._console = console

    def well(self, what: str) -> None:
        """One thing that is as it should be."""
        self._print("ok", "green", what)

    def wrong(self, what: str, why: str) -> None:
        """One thing that isn't, and the cure."""
        self.failed = True
        self._print("wrong", "red", f"{what}: {why}")

    async def look(self, what: str, look: Look, well: str = "") -> bool:
        """Whether `look` raises nothing, said in a line about `what`, which then is `well`."""
        try:
            await look()
        except _TROUBLES as trouble:
            self.wrong(what, getattr(trouble, "comment", "") or str(trouble))
            return False
        self.well(f"{what}: {well}" if well else what)
        return True

    def _print(self, word: str, color: str, text: str) -> None:
        """Print a line whose text is no markup, whatever brackets are in it."""
        line = Text.assemble((word, color), " " * (8 - len(word)), text)
        self._console.print(line, highlight=False, soft_wrap=True)
