import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from dimse_ingestion.observability import tracing

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def finished() -> InMemorySpanExporter:
    tracing.configure("proxy")
    provider = trace.get_tracer_provider()
    assert isinstance(provider, TracerProvider)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter


def test_a_trace_goes_on_across_a_wire(finished: InMemorySpanExporter) -> None:
    with tracing.span("sender"):
        carried = tracing.headers()["traceparent"]
    with tracing.span("receiver", carried):
        assert tracing.traceparent() != carried
    sender, receiver = finished.get_finished_spans()
    assert receiver.context.trace_id == sender.context.trace_id
    assert receiver.parent is not None
    assert receiver.parent.span_id == sender.context.span_id


def test_garbage_as_traceparent_begins_a_new_trace(finished: InMemorySpanExporter) -> None:
    with tracing.span("receiver", "not a traceparent"):
        assert tracing.traceparent().startswith("00-")


def test_without_a_span_no_header_is_sent() -> None:
    assert tracing.traceparent() == ""
    assert tracing.headers() == {}


def test_a_failure_is_marked_by_its_type_only(finished: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="Yamada"), tracing.span("store", PARENT, size=3):
        raise ValueError("Yamada^Tarou")
    (span,) = finished.get_finished_spans()
    assert span.status.description == "ValueError"
    assert not span.events
    assert dict(span.attributes or {}) == {"size": 3}


def test_spans_for_export_alone_cost_nothing_without_one(finished: InMemorySpanExporter) -> None:
    with tracing.exported_span("bucket put"), tracing.detached_span("query"):
        assert tracing.traceparent() == ""
    assert not finished.get_finished_spans()


def test_a_detached_span_has_a_parent_and_is_not_the_current_one(
    finished: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "_exporting", True)
    with tracing.detached_span("query"):
        assert tracing.traceparent() == ""
    with pytest.raises(ValueError, match="Yamada"), tracing.detached_span("query", PARENT):
        raise ValueError("Yamada^Tarou")
    _, span = finished.get_finished_spans()
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" in PARENT
    assert span.status.description == "ValueError"
    assert not span.events
