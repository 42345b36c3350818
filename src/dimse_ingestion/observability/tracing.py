"""Distributed tracing: one trace an operation, from the modality's request to the commit.

The W3C Trace Context is passed on as `traceparent` in NATS and HTTP headers. Spans are recorded and
exported by OTLP only if an endpoint is configured. Without one a context variable holds the
caller's traceparent, or a new one: log lines have their trace id, the next service gets it, and no
OpenTelemetry object is created. No attribute may hold patient data.
"""

import random
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar, Token

from opentelemetry import context, trace
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

TRACEPARENT = "traceparent"
"""The header's name, in NATS and in HTTP."""

_PROPAGATOR = TraceContextTextMapPropagator()
_VALID = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_TRACE_ID = slice(3, 35)  # within a traceparent
_SAMPLED = "01"
_current: ContextVar[str] = ContextVar("traceparent", default="")
_exporting = False


def configure(service: str, otlp_endpoint: str = "") -> None:
    """Export spans to `otlp_endpoint`, an OTLP/HTTP base URL; without one, record none.

    A second call in the same process changes nothing.
    """
    global _exporting  # noqa: PLW0603 - as the tracer provider, one for the process
    if not otlp_endpoint or _exporting:
        return
    # a service that exports nothing loads neither the SDK nor its HTTP client
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": f"dimse-{service}"}))
    exporter = OTLPSpanExporter(endpoint=f"{otlp_endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    _exporting = True


def is_exporting() -> bool:
    """Return whether spans are recorded and exported."""
    return _exporting


def shut_down() -> None:
    """Export the remaining spans; called when a service ends."""
    if _exporting:
        from opentelemetry.sdk.trace import TracerProvider

        provider = trace.get_tracer_provider()
        if isinstance(provider, TracerProvider):
            provider.shutdown()


def span(name: str, parent: str = "", **attributes: str | int) -> AbstractContextManager[Span]:
    """Record a span around the block; `parent` is the traceparent of the request, if it had one.

    When nothing is exported, the block only has a traceparent. An exception marks the span as
    failed, by its type only: its message might name a patient.
    """
    return _recorded(name, parent, attributes) if _exporting else _PassedOn(parent)


class _PassedOn:
    """A block with a traceparent and without a span."""

    __slots__ = ("_parent", "_token")
    _token: Token[str]

    def __init__(self, parent: str) -> None:
        self._parent = parent

    def __enter__(self) -> Span:
        outer = self._parent if _VALID.fullmatch(self._parent) else _current.get()
        self._token = _current.set(outer or _new_traceparent())
        return trace.INVALID_SPAN

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)


def _new_traceparent() -> str:
    ids = f"{random.getrandbits(192) | 1 << 128 | 1:048x}"
    return f"00-{ids[:32]}-{ids[32:]}-{_SAMPLED}"


@contextmanager
def _recorded(name: str, parent: str, attributes: Mapping[str, str | int]) -> Iterator[Span]:
    outer = _PROPAGATOR.extract({TRACEPARENT: parent}) if parent else context.get_current()
    kind = SpanKind.SERVER if parent else SpanKind.INTERNAL
    with trace.get_tracer("dimse_ingestion").start_as_current_span(
        name,
        context=outer,
        kind=kind,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield current
        except Exception as error:
            current.set_status(StatusCode.ERROR, type(error).__name__)
            raise


def exported_span(
    name: str, parent: str = "", **attributes: str | int
) -> AbstractContextManager[Span]:
    """Record a span around the block as `span` does, but only when spans are exported."""
    if not _exporting:
        return nullcontext(trace.INVALID_SPAN)
    return span(name, parent, **attributes)


@contextmanager
def detached_span(name: str, parent: str = "", **attributes: str | int) -> Iterator[Span]:
    """Record a span that is not the current one, only when spans are exported.

    For generators: one may be closed in another context than the one in which it was started, so
    that it can't reset the current span.
    """
    if not _exporting:
        yield trace.INVALID_SPAN
        return
    outer = _PROPAGATOR.extract({TRACEPARENT: parent}) if parent else context.get_current()
    kind = SpanKind.SERVER if parent else SpanKind.INTERNAL
    tracer = trace.get_tracer("dimse_ingestion")
    current = tracer.start_span(name, context=outer, kind=kind, attributes=attributes)
    try:
        yield current
    except Exception as error:
        current.set_status(StatusCode.ERROR, type(error).__name__)
        raise
    finally:
        current.end()


def traceparent() -> str:
    """Return the traceparent of the current block, or an empty string."""
    if not _exporting:
        return _current.get()
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get(TRACEPARENT, "")


def trace_id() -> str:
    """Return the current trace's id in hexadecimal, or an empty string."""
    if not _exporting:
        return _current.get()[_TRACE_ID]
    span_context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(span_context.trace_id) if span_context.is_valid else ""


def headers() -> Mapping[str, str]:
    """Return the headers to add to a message or request."""
    parent = traceparent()
    return {TRACEPARENT: parent} if parent else {}
