"""Responses are compressed only for clients that accept gzip."""

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from dimse_ingestion.dicomweb.middleware.compression import CompressionMiddleware, accepts_gzip


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("", False),
        ("gzip", True),
        ("GZip;Q=1", True),
        ("x-gzip", True),
        ("br, gzip;q=0.2", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("*, gzip;q=0", False),
        ("*;q=0", False),
        ("identity", False),
        ("identity, gzip;q=0.5", False),
        ("identity;q=0.5, gzip;q=0.5", True),
        ("identity;q=0, *", True),
        ("gzip;q=0.001, *;q=0", True),
        ("not-gzip", False),
        ("gzip;q=much", False),
        ("gzip;q=nan", False),
        (",;=,", False),
    ],
)
def test_qualities_are_compared(header: str, wanted: bool) -> None:
    assert accepts_gzip(header) is wanted


@pytest.mark.parametrize(("header", "coding"), [("gzip", "gzip"), ("gzip;q=0, br", None)])
def test_the_content_is_the_same_and_vary_is_set(header: str, coding: str | None) -> None:
    client = TestClient(CompressionMiddleware(PlainTextResponse("x" * 1000)))
    answer = client.get("/", headers={"accept-encoding": header})
    assert answer.text == "x" * 1000
    assert answer.headers.get("content-encoding") == coding
    assert answer.headers["vary"] == "Accept-Encoding"
