"""The same seed and index give the same input, else no finding could be repeated."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz import dimse_input, http_input, nats_input
from tests.fuzz.mutation import random_of

CORPUS = Path(__file__).parent / "corpus"
CHANGES: dict[str, Callable[..., object]] = {
    "dimse": dimse_input.changed,
    "dicomweb": http_input.changed,
    "catalogue": http_input.changed,
    "nats": nats_input.changed,
}


@pytest.mark.parametrize("service", CHANGES)
def test_an_input_is_a_function_of_seed_service_and_index(service: str) -> None:
    corpus = [path.read_bytes() for path in sorted((CORPUS / service).iterdir())]

    def inputs(seed: int) -> list[object]:
        return [
            CHANGES[service](random_of(seed, service, index), list(corpus)) for index in range(200)
        ]

    assert inputs(1) == inputs(1)
    assert inputs(1) != inputs(2)
    assert len({repr(each) for each in inputs(1)}) > 150


def test_a_stream_is_cut_into_its_pdus() -> None:
    for path in (CORPUS / "dimse").iterdir():
        pdus = dimse_input.pdus(path.read_bytes())
        assert b"".join(pdus) == path.read_bytes()
        assert [pdus[0][0], pdus[-1][0]] == [1, 5]  # A-ASSOCIATE-RQ, A-RELEASE-RQ


def test_the_length_of_a_body_is_right() -> None:
    request = http_input.parsed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab")
    assert request.wire == b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"


def test_a_session_is_saved_and_loaded() -> None:
    for path in (CORPUS / "nats").iterdir():
        session = nats_input.loaded(path.read_bytes())
        assert nats_input.loaded(nats_input.saved(session)) == session
        assert session[0].subject.startswith("DIMSE.v1.svc.")
