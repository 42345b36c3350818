import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from dimse_ingestion.dicomweb.middleware.request_span import RequestSpanMiddleware
from dimse_ingestion.observability import tracing
from tests.exported_spans import exported_spans

__all__ = ["exported_spans"]

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def answer(_: Request) -> PlainTextResponse:
    return PlainTextResponse(tracing.traceparent())


@pytest.fixture
def client() -> TestClient:
    routes = [Route("/studies/{study}", answer)]
    return TestClient(Starlette(routes=routes, middleware=[Middleware(RequestSpanMiddleware)]))


def test_a_request_has_a_trace_when_nothing_is_exported(client: TestClient) -> None:
    assert client.get("/studies/1.2").text.startswith("00-")
    assert client.get("/studies/1.2", headers={"traceparent": PARENT}).text == PARENT


def test_a_request_has_a_span_that_names_no_patient(
    client: TestClient, exported_spans: InMemorySpanExporter
) -> None:
    headers = {"traceparent": PARENT}
    inner = client.get("/studies/1.2", params={"PatientName": "Yamada"}, headers=headers).text
    (span,) = exported_spans.get_finished_spans()
    assert inner.split("-")[1] == PARENT.split("-")[1]
    assert dict(span.attributes or {}) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": "/studies/{study}",
    }
