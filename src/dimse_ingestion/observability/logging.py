"""Log lines an operator understands: one JSON object each, and never a patient in one.

`logger` is the only way the rest of the house logs. Lines of the libraries (uvicorn, nats, asyncio)
come out in the same form. Not for metrics or traces.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, TextIO, cast

import orjson
import structlog
from opentelemetry import trace

_WITHHELD = "[withheld]"
_PATIENT_DATA = re.compile(
    r"patient|person|birth|accession|physician|operator_name|issuer|identifier$|^identifier"
    r"|^elements?$|^data_set$|^values?$|^keys?_asked$|^query$|^body$|password|secret|token"
)
_CHATTY = (
    "uvicorn.error",
    "uvicorn.access",
    "httpx",
    "httpx2",
    "httpcore",
    "httpcore2",
    "urllib3",
    "aiosqlite",
    "python_multipart",
)


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


def bound(**facts: str) -> AbstractContextManager[None]:
    """Every line within carries these facts (association_id, operation_id), in this task."""
    return cast("AbstractContextManager[None]", structlog.contextvars.bound_contextvars(**facts))


def configure(door: str, level: str = "info", *, stream: TextIO | None = None) -> None:
    """Write JSON lines to `stream` (standard error) from `level` on; once, when a door starts."""
    out = stream or sys.stderr
    number = logging.getLevelNamesMapping()[level.upper()]
    shared = _shared(door)
    structlog.configure(
        processors=[*shared, _as_json],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,  # a module's logger is made before this is called
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _as_json],
        )
    )
    logging.basicConfig(handlers=[handler], level=number, force=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))


def _shared(door: str) -> list[structlog.typing.Processor]:
    def add_door(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        line["door"] = door
        return line

    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_door,
        add_trace_id,
        structlog.processors.format_exc_info,
        withhold_patient_data,
    ]


def add_trace_id(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Name the trace a line belongs to, if there is one."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        line["trace_id"] = trace.format_trace_id(context.trace_id)
    return line


def withhold_patient_data(
    _: Any, __: str, line: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace what may name a patient or open a door, by the name of the fact, and all bytes.

    The last guard, not the first: no caller is meant to hand in such a fact.
    """
    for name, value in line.items():
        if isinstance(value, bytes | bytearray | memoryview):
            line[name] = f"[{len(value)} bytes]"
        elif not isinstance(value, int) and _PATIENT_DATA.search(name):
            line[name] = _WITHHELD
    return line


def _as_json(_: Any, __: str, line: MutableMapping[str, Any]) -> str:
    return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
