"""Log lines an operator understands: one JSON object each, and never a patient in one.

`logger` is the only way the rest of the house logs. Not for metrics or traces.
"""

from typing import Any, Protocol, cast

import structlog


class Logger(Protocol):
    """What of structlog's logger we use: a sentence, then facts by name."""

    def debug(self, event: str, **facts: Any) -> Any:
        """For a developer."""

    def info(self, event: str, **facts: Any) -> Any:
        """What went as it should."""

    def warning(self, event: str, **facts: Any) -> Any:
        """What an operator may want to look at."""

    def error(self, event: str, **facts: Any) -> Any:
        """What failed, and what to do."""

    def exception(self, event: str, **facts: Any) -> Any:
        """An error with its traceback: a mistake of ours."""

    def bind(self, **facts: Any) -> "Logger":
        """A logger whose lines all carry these facts."""


def logger(room: str) -> Logger:
    """A logger whose lines carry the room (a module's `__name__`) they come from."""
    return cast("Logger", structlog.get_logger(room=room))
