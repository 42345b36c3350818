"""Distributed tracing: one trace an operation, from the modality's request to the commit.

The W3C Trace Context is passed on as `traceparent` in NATS and HTTP headers. Spans are exported by
OTLP if an endpoint is configured; without one they still give log lines their trace id. No
attribute may hold patient data.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

TRACEPARENT = "traceparent"
"""The header's name, in NATS and in HTTP."""

_PROPAGATOR = TraceContextTextMapPropagator()
_exporting = False


def configure(service: str, otlp_endpoint: str = "") -> None:
    """Start tracing, with an export to `otlp_endpoint` (an OTLP/HTTP base URL) if there is one.

    A second call in the same process changes nothing.
    """
    global _exporting  # noqa: PLW0603 - as the tracer provider, one for the process
    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return
    provider = TracerProvider(resource=Resource.create({"service.name": f"dimse-{service}"}))
    if otlp_endpoint:
        exporter = OTLPSpanExporter(endpoint=f"{otlp_endpoint.rstrip('/')}/v1/traces")
        provider.add_span_processor(BatchSpanProcessor(exporter))
        _exporting = True
    trace.set_tracer_provider(provider)


def shut_down() -> None:
    """Export the remaining spans; called when a service ends."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        provider.shutdown()


@contextmanager
def span(name: str, parent: str = "", **attributes: str | int) -> Iterator[Span]:
    """Record a span around the block; `parent` is the traceparent of the request, if it had one.

    An exception marks the span as failed, by its type only: its message might name a patient.
    """
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


def is_exporting() -> bool:
    """Return whether spans are exported."""
    return _exporting


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
    """Return the current span's traceparent, or an empty string."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get(TRACEPARENT, "")


def headers() -> Mapping[str, str]:
    """Return the headers to add to a message or request."""
    parent = traceparent()
    return {TRACEPARENT: parent} if parent else {}
