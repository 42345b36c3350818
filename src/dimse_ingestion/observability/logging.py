"""Structured logging: one JSON object a line, without patient data.

All modules log by `logger`. Lines of the libraries (uvicorn, nats, asyncio) have the same form.
Metrics and traces are not here.
"""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager
from functools import lru_cache
from traceback import TracebackException
from typing import Any, Protocol, TextIO, cast

import orjson
import structlog

from dimse_ingestion.observability import tracing

_WITHHELD = "[withheld]"
_NAME = "logger_name"  # until a line is written: structlog has an argument `logger` of its own
_PATIENT_DATA = re.compile(
    r"patient|person|birth|accession|physician|operator_name|issuer|identifier$|^identifier"
    r"|^elements?$|^data_set$|^values?$|^keys?_asked$|^query$|^body$|password|secret|token"
)
_NO_UID = re.compile(r"[^0-9.\0 ]|.{65}", re.DOTALL)
_QUOTED = re.compile(r"""['"].*['"]""", re.DOTALL)  # to the last quote: a value may contain some
_BYTES = (bytes, bytearray, memoryview)
_CHATTY = (
    "uvicorn.error",
    "uvicorn.access",
    "httpx",
    "httpx2",
    "httpcore",
    "httpcore2",
    "urllib3",
)


class Logger(Protocol):
    """The part of structlog's logger that is used: a sentence as the event, then named fields."""

    def debug(self, event: str, **fields: Any) -> Any:
        """Log a detail for a developer."""

    def info(self, event: str, **fields: Any) -> Any:
        """Log a step that succeeded."""

    def warning(self, event: str, **fields: Any) -> Any:
        """Log a problem that an operator may want to examine."""

    def error(self, event: str, **fields: Any) -> Any:
        """Log a failure, and what to do."""

    def exception(self, event: str, **fields: Any) -> Any:
        """Log an unexpected error (a bug of this program) with its traceback."""

    def bind(self, **fields: Any) -> "Logger":
        """Return a logger whose lines all have these fields."""


def logger(name: str) -> Logger:
    """Return a logger whose lines have `name` (a module's `__name__`) in the field `logger`."""
    return cast("Logger", structlog.get_logger(**{_NAME: name}))


def log_context(**fields: str) -> AbstractContextManager[None]:
    """Add fields (association_id, operation_id) to every line of this task within the block."""
    return cast("AbstractContextManager[None]", structlog.contextvars.bound_contextvars(**fields))


def configure(
    service: str, level: str = "info", *, stream: TextIO | None = None, worker: int = 0
) -> None:
    """Write JSON lines of `level` and above to `stream` (standard error).

    Called once, when a service starts; `service` is a field of each line, and `worker` if it is one
    of several processes.
    """
    out = stream or sys.stderr
    number = logging.getLevelNamesMapping()[level.upper()]
    shared = _shared({"service": service} | ({"worker": worker} if worker else {}))
    structlog.configure(
        processors=[*shared, _as_json],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,  # modules create their loggers before this call
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


def _shared(origin: Mapping[str, str | int]) -> list[structlog.typing.Processor]:
    def add_origin(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        line.update(origin)
        if _NAME in line:
            line["logger"] = line.pop(_NAME)
        return line

    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_origin,
        add_trace_id,
        structlog.processors.ExceptionRenderer(_format_exception),
        withhold_patient_data,
    ]


def add_trace_id(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the current trace's id, if there is a trace."""
    if trace_id := tracing.trace_id():
        line["trace_id"] = trace_id
    return line


def withhold_patient_data(
    _: Any, __: str, line: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace patient data and credentials, recognized by the field's name, and all bytes.

    Also what stands in the place of a UID: of a damaged data set, that may be any other element.
    The last line of defence: callers must not log such fields in the first place.
    """
    for name, value in line.items():
        if isinstance(value, _BYTES):
            line[name] = f"[{len(value)} bytes]"
        elif _is_patient_data(name, value):
            line[name] = _WITHHELD
    return line


def _is_patient_data(name: str, value: object) -> bool:
    if name.endswith("_uid") and isinstance(value, str) and _NO_UID.search(value):
        return True
    return _names_patient_data(name) and not isinstance(value, int)


def _format_exception(exc_info: structlog.typing.ExcInfo) -> str:
    """Return the traceback; quoted values in the texts of exceptions may be a patient's."""
    return "".join(_withhold_quoted(TracebackException(*exc_info)).format()).rstrip("\n")


def _withhold_quoted(error: TracebackException) -> TracebackException:
    error._str = _QUOTED.sub(f"'{_WITHHELD}'", error._str)  # type: ignore[attr-defined]
    for each in (error.__cause__, error.__context__, *(error.exceptions or ())):
        if each is not None:
            _withhold_quoted(each)
    return error


@lru_cache(maxsize=1024)  # the names are literals of this program's calls: a few hundred
def _names_patient_data(field: str) -> bool:
    return _PATIENT_DATA.search(field) is not None


def _as_json(_: Any, __: str, line: MutableMapping[str, Any]) -> str:
    return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
