"""A trace continues from service to service; spans exist only where they are exported."""

import subprocess
import sys

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import INVALID_SPAN

from dimse_ingestion.observability import tracing
from tests.exported_spans import exported_spans

__all__ = ["exported_spans"]

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
MALFORMED = [
    "not a traceparent",
    PARENT.upper(),
    PARENT + "\r\nX: 1",
    PARENT.replace("b7ad6b7169203331", "0" * 16),
    "00-" + "0" * 32 + "-b7ad6b7169203331-01",
]


def test_a_trace_goes_on_across_a_wire(exported_spans: InMemorySpanExporter) -> None:
    with tracing.span("sender"):
        carried = tracing.headers()["traceparent"]
    with tracing.span("receiver", carried):
        assert tracing.traceparent() != carried
    sender, receiver = exported_spans.get_finished_spans()
    assert receiver.context.trace_id == sender.context.trace_id
    assert receiver.parent is not None
    assert receiver.parent.span_id == sender.context.span_id


def test_garbage_as_traceparent_begins_a_new_trace(exported_spans: InMemorySpanExporter) -> None:
    with tracing.span("receiver", "not a traceparent"):
        assert tracing.traceparent().startswith("00-")


def test_without_a_span_no_header_is_sent() -> None:
    assert tracing.traceparent() == ""
    assert tracing.headers() == {}


def test_a_failure_is_marked_by_its_type_only(exported_spans: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="Yamada"), tracing.span("store", PARENT, size=3):
        raise ValueError("Yamada^Tarou")
    (span,) = exported_spans.get_finished_spans()
    assert span.status.description == "ValueError"
    assert not span.events
    assert dict(span.attributes or {}) == {"size": 3}


def test_a_trace_goes_on_without_an_export() -> None:
    with tracing.span("sender") as span:
        assert span is INVALID_SPAN
        carried = tracing.headers()["traceparent"]
    with tracing.span("receiver", carried):
        assert tracing.traceparent() == carried
        assert tracing.trace_id() == carried.split("-")[1]
        with tracing.span("within"):
            assert tracing.traceparent() == carried
    assert tracing.traceparent() == tracing.trace_id() == ""


@pytest.mark.parametrize("parent", MALFORMED)
def test_a_malformed_traceparent_is_not_passed_on(parent: str) -> None:
    with tracing.span("receiver", parent):
        new = tracing.traceparent()
        assert new.startswith("00-")
        assert new != parent
    with tracing.span("outer", PARENT), tracing.span("receiver", parent):
        assert tracing.traceparent() == PARENT


def test_each_trace_without_a_parent_is_another() -> None:
    traces = set()
    for _ in range(100):
        with tracing.span("sender"):
            traces.add(tracing.trace_id())
    assert len(traces) == 100


def test_an_error_ends_a_block_without_an_export() -> None:
    with pytest.raises(ValueError, match="wrong"), tracing.span("sender"):
        raise ValueError("wrong")
    assert tracing.traceparent() == ""


def test_spans_for_export_alone_cost_nothing_without_one() -> None:
    with tracing.exported_span("bucket put"), tracing.detached_span("query"):
        assert tracing.traceparent() == ""


def test_a_service_without_an_export_does_not_load_the_sdk() -> None:
    code = (
        "import sys; from dimse_ingestion.observability import tracing; tracing.configure('proxy');"
        "tracing.shut_down(); raise SystemExit('opentelemetry.sdk' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_detached_span_has_a_parent_and_is_not_the_current_one(
    exported_spans: InMemorySpanExporter,
) -> None:
    with tracing.detached_span("query"):
        assert tracing.traceparent() == ""
    with pytest.raises(ValueError, match="Yamada"), tracing.detached_span("query", PARENT):
        raise ValueError("Yamada^Tarou")
    _, span = exported_spans.get_finished_spans()
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" in PARENT
    assert span.status.description == "ValueError"
    assert not span.events
