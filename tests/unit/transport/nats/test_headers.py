import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dimse_ingestion.transport.nats import headers

NAMES = st.from_regex(r"[A-Za-z0-9-]{1,20}", fullmatch=True)
VALUES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Z"]), max_size=40)


@settings(max_examples=100)
@given(st.dictionaries(NAMES, VALUES, min_size=1, max_size=8))
def test_encoded_headers_are_decoded(given_headers: dict[str, str]) -> None:
    assert headers.decode(headers.encode(given_headers)) == given_headers


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (b"NATS/1.0 503\r\n\r\n", {"Status": "503"}),
        (
            b"NATS/1.0 100 Idle Heartbeat\r\na: b\r\n\r\n",
            {"Status": "100", "Description": "Idle Heartbeat", "a": "b"},
        ),
        (b"NATS/1.0\r\na:b\r\nc:  d:e \r\n\r\n", {"a": "b", "c": "d:e"}),
        (b"NATS/1.0\r\nnonsense\r\na: \xff\r\n\r\n", {"a": "\ufffd"}),
    ],
)
def test_headers_of_servers_and_other_clients_are_decoded(
    block: bytes, expected: dict[str, str]
) -> None:
    assert headers.decode(block) == expected


@pytest.mark.parametrize("broken", [{"a": "b\r\nc: d"}, {"a\n": "b"}, {"a": "b\r"}])
def test_a_line_break_is_refused(broken: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="line break"):
        headers.encode(broken)
