"""Structured logging: one JSON object a line, without patient data.

All modules log by `logger`. Lines of the libraries (uvicorn, nats, asyncio) have the same form.
Metrics and traces are not here.
"""

import logging
import re
import sys
from collections.abc import Callable, Mapping, MutableMapping
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from functools import lru_cache
from traceback import TracebackException
from types import MappingProxyType
from typing import Any, Protocol, TextIO

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
_UID, _OF_PATIENT = 1, 2  # kinds of fields
_LEVELS = {"exception": "error", "warn": "warning"}  # names of methods that are no levels
_BYTES = (bytes, bytearray, memoryview)
_NO_FIELDS: Mapping[str, str] = MappingProxyType({})
_configuration = 0
"""The number of the configuration, so that loggers see a new one."""
_context: ContextVar[Mapping[str, str]] = ContextVar("log_context", default=_NO_FIELDS)
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
    """Return a logger whose lines all have `name` (a module's `__name__`) in the field `logger`."""
    return _ConfiguredLogger({_NAME: name})


class _ConfiguredLogger:
    """A logger with fields, which structlog's configuration of the moment makes once.

    Modules create their loggers before `configure` is called.
    """

    __slots__ = ("_bound", "_configuration", "_fields")

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields
        self._configuration = -1
        self._bound: Logger

    def bind(self, **fields: Any) -> Logger:
        """Return a logger with further fields."""
        return _ConfiguredLogger({**self._fields, **fields})

    def __getattr__(self, method: str) -> Any:
        """Return a method of structlog's logger."""
        if self._configuration != _configuration or not structlog.is_configured():
            number = _configuration
            self._bound = structlog.get_logger().bind(**self._fields)
            self._configuration = number  # last: another thread may look at the same time
        return getattr(self._bound, method)

    debug: Callable[..., Any]
    info: Callable[..., Any]
    warning: Callable[..., Any]
    error: Callable[..., Any]
    exception: Callable[..., Any]


class log_context:  # noqa: N801 - used as a function
    """Add fields (association_id, operation_id) to every line of this task within the block."""

    __slots__ = ("_fields", "_token")
    _token: Token[Mapping[str, str]]

    def __init__(self, **fields: str) -> None:
        self._fields = fields

    def __enter__(self) -> None:
        self._token = _context.set({**_context.get(), **self._fields})

    def __exit__(self, *_: object) -> None:
        _context.reset(self._token)


def configure(
    service: str, level: str = "info", *, stream: TextIO | None = None, worker: int = 0
) -> None:
    """Write JSON lines of `level` and above to `stream` (standard error).

    Called once, when a service starts; `service` is a field of each line, and `worker` if it is one
    of several processes.
    """
    global _configuration  # noqa: PLW0603 - as structlog's, one for the process
    _configuration += 1
    out = stream or sys.stderr
    number = logging.getLevelNamesMapping()[level.upper()]
    shared = _shared({"service": service} | ({"worker": worker} if worker else {}))
    structlog.configure(
        processors=[*shared, _as_json],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(out),
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
    def add_common_fields(
        _: Any, level: str, line: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        for name, value in _context.get().items():
            line.setdefault(name, value)
        line["level"] = _LEVELS.get(level, level)
        line["timestamp"] = f"{datetime.now(UTC).replace(tzinfo=None).isoformat()}Z"
        line.update(origin)
        if _NAME in line:
            line["logger"] = line.pop(_NAME)
        if trace_id := tracing.trace_id():
            line["trace_id"] = trace_id
        return line

    return [
        add_common_fields,
        structlog.processors.ExceptionRenderer(_format_exception),
        withhold_patient_data,
    ]


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
        elif (kind := _kind(name)) and _is_patient_data(kind, value):
            line[name] = _WITHHELD
    return line


def _is_patient_data(kind: int, value: object) -> bool:
    if kind & _UID and isinstance(value, str) and _NO_UID.search(value):
        return True
    return kind & _OF_PATIENT != 0 and not isinstance(value, int)


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
def _kind(field: str) -> int:
    """Return what a field's name says of its value; 0 for most."""
    uid = _UID if field.endswith("_uid") else 0
    return uid | (_OF_PATIENT if _PATIENT_DATA.search(field) else 0)


def _as_json(_: Any, __: str, line: MutableMapping[str, Any]) -> str:
    return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
