import pytest
from starlette.requests import Request

from dimse_ingestion.dicomweb.http.conditional import is_unchanged


@pytest.mark.parametrize(
    ("header", "unchanged"),
    [
        ("", False),
        ('"a"', True),
        ('W/"a"', True),
        ('"b", W/"a"', True),
        ("*", True),
        ('"b"', False),
        ("a", False),
    ],
)
def test_entity_tags_are_compared_weakly(header: str, unchanged: bool) -> None:
    headers = [(b"if-none-match", header.encode())] if header else []
    request = Request({"type": "http", "headers": headers})
    assert is_unchanged(request, 'W/"a"') == unchanged
