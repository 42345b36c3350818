"""Findings told to an operator at a terminal: a line for each thing looked at, well or wrong.

What is looked at is the commands' matter (`checking`, `proving`).
"""

from collections.abc import Awaitable, Callable

from rich.console import Console

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
        self._console.print(f"[green]ok[/green]      {what}", highlight=False, soft_wrap=True)

    def wrong(self, what: str, why: str) -> None:
        """One thing that isn't, and the cure."""
        self.failed = True
        self._console.print(f"[red]wrong[/red]   {what}: {why}", highlight=False, soft_wrap=True)

    async def look(self, what: str, look: Look, well: str = "") -> bool:
        """Whether `look` raises nothing, said in a line about `what`, which then is `well`."""
        try:
            await look()
        except _TROUBLES as trouble:
            self.wrong(what, getattr(trouble, "comment", "") or str(trouble))
            return False
        self.well(f"{what}: {well}" if well else what)
        return True
