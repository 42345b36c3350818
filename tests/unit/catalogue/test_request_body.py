"""Bodies are read whole within bounds, each and together."""

from collections.abc import Sequence
from typing import Any

import pytest
from starlette.requests import Request

from dimse_ingestion.catalogue.request_body import BodyReader, BodyTooLong
from dimse_ingestion.failures import Unavailable


def request(pieces: Sequence[bytes], *, whole: bool = True) -> Request:
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": piece, "more_body": True} for piece in pieces
    ]
    end = {"type": "http.request", "body": b""} if whole else {"type": "http.disconnect"}
    waiting = iter([*messages, end])

    async def receive() -> Any:
        return next(waiting)

    return Request({"type": "http", "headers": []}, receive)


async def test_a_body_is_what_its_pieces_are() -> None:
    async with BodyReader(10).body(request([b"abc", b"", b"def"])) as body:
        assert body == b"abcdef"


async def test_one_byte_too_many_is_refused() -> None:
    with pytest.raises(BodyTooLong, match="10 bytes"):
        async with BodyReader(10).body(request([b"x" * 10, b"y"])):
            pass


async def test_a_client_that_disconnects_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="whole"):
        async with BodyReader(10).body(request([b"abc"], whole=False)):
            pass


async def test_bodies_in_memory_are_limited_together_and_released() -> None:
    bodies = BodyReader(longest=10, most=12)
    async with bodies.body(request([b"x" * 8])):
        with pytest.raises(Unavailable):
            async with bodies.body(request([b"x" * 5])):
                pass
        async with bodies.body(request([b"x" * 4])) as body:
            assert len(body) == 4
    async with bodies.body(request([b"x" * 10])) as body:
        assert len(body) == 10


async def test_one_alone_may_be_longer_than_all_together() -> None:
    async with BodyReader(longest=10, most=5).body(request([b"x" * 6, b"x" * 4])) as body:
        assert len(body) == 10
