"""Multipart bodies in pieces of any size: parts are read unchanged, malformed bodies refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimse_ingestion.dicomweb.http.multipart_reader import (
    Event,
    MalformedMultipart,
    MultipartReader,
    PartContent,
    PartEnd,
    PartHeaders,
)

BOUNDARY = "frontier"


def body(*contents: bytes, end: bytes = b"--\r\n") -> bytes:
    parts = (
        b"--frontier\r\nContent-Type: application/dicom\r\n\r\n" + content + b"\r\n"
        for content in contents
    )
    return b"".join(parts) + b"--frontier" + end


def read(data: bytes, *sizes: int) -> list[Event]:
    reader = MultipartReader(BOUNDARY)
    events: list[Event] = []
    start = 0
    for size in sizes or (len(data),):
        events += reader.feed(data[start : start + size])
        start += size
    events += reader.feed(data[start:])
    reader.finish()
    return events


def contents(events: list[Event]) -> list[bytes]:
    found: list[bytes] = []
    for event in events:
        if isinstance(event, PartHeaders):
            found.append(b"")
        elif isinstance(event, PartContent):
            found[-1] += event.content
    return found


def test_a_part_has_headers_content_and_end() -> None:
    events = read(body(b"abc"))
    assert events[0] == PartHeaders({"content-type": "application/dicom"})
    assert contents(events) == [b"abc"]
    assert events[-1] == PartEnd()


@given(
    st.lists(
        st.lists(
            st.sampled_from(
                [b"\r", b"\n", b"\r\n", b"--frontier", b"\r\n--fron", b"-", b"x", b"\0"]
            ),
            max_size=8,
        ).map(b"".join),
        min_size=1,
        max_size=4,
    ),
    st.lists(st.integers(0, 20), max_size=40),
)
def test_any_content_survives_any_split(parts: list[bytes], sizes: list[int]) -> None:
    parts = [part for part in parts if b"\r\n--frontier" not in b"\r\n" + part] or [b""]
    assert contents(read(body(*parts), *sizes)) == parts


def test_byte_by_byte() -> None:
    whole = body(b"\r\n--frontie", b"", b"\r\n--frontierX", b"--frontier")
    assert contents(read(whole, *[1] * len(whole))) == contents(read(whole))


def test_the_epilogue_is_skipped() -> None:
    assert contents(read(body(b"abc") + b"epilogue\r\n--frontier\r\n")) == [b"abc"]


@pytest.mark.parametrize(
    "data",
    [b"", b"--frontier", body(b"abc")[:-20], body(b"abc", b"def")[:-6], body(b"abc", end=b"\r\n")],
)
def test_an_incomplete_body_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedMultipart, match="send it whole"):
        read(data)


@pytest.mark.parametrize(
    "data", [b"something else", b"--other\r\n\r\nabc\r\n--other--", b"--frontierX\r\n\r\nabc"]
)
def test_a_body_with_another_boundary_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedMultipart, match="malformed before its first part"):
        read(data)


def test_too_many_headers_are_refused() -> None:
    many = b"".join(b"X-%d: y\r\n" % number for number in range(100))
    with pytest.raises(MalformedMultipart, match="header count"):
        read(b"--frontier\r\n" + many + b"\r\nabc\r\n--frontier--")
    with pytest.raises(MalformedMultipart, match="header size"):
        read(b"--frontier\r\nX: " + b"y" * 10_000 + b"\r\n\r\nabc\r\n--frontier--")


@pytest.mark.parametrize("boundary", ["", "x" * 71, "ends in a blank ", "new\nline", "ä"])
def test_a_malformed_boundary_is_refused(boundary: str) -> None:
    with pytest.raises(MalformedMultipart, match="boundary"):
        MultipartReader(boundary)


PART = b"Content-Type: application/dicom\r\n\r\nabc\r\n"


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n--frontier\r\n" + PART + b"--frontier--\r\n",
        b"This is a multi-part message.\r\n--frontier\r\n" + PART + b"--frontier--",
        b"a --frontier in a line, --frontierX\n--frontier\r\n" + PART + b"--frontier--",
        b"--frontier \t \r\n" + PART + b"--frontier-- \r\n",
        b"--frontier\r\n" + PART + b"--frontier--\r\nthe end\r\n--frontier\r\n",
        b"--frontier\r\n" + PART.replace(b": ", b":\r\n ") + b"--frontier--",
        b"--frontier\r\n" + PART.replace(b": ", b":\r\n\t ").upper() + b"--frontier--",
        (b"--frontier\r\n" + PART + b"--frontier--\r\n").replace(b"\r\n", b"\n"),
        (b"preamble\r\n--frontier\r\n" + PART + b"--frontier--").replace(b"\r\n", b"\n"),
    ],
    ids=[
        *("line before", "preamble", "near boundaries", "blanks", "epilogue", "folded"),
        *("folded in upper case", "line feeds", "preamble and line feeds"),
    ],
)
def test_a_body_is_read_as_mime_defines_it(data: bytes) -> None:
    for events in (read(data), read(data, *[1] * len(data)), read(data, *[7] * len(data))):
        assert [each.lower() for each in contents(events)] == [b"abc"]
        assert isinstance(events[0], PartHeaders)
        assert events[0].headers["content-type"].lower() == "application/dicom"


def test_a_bare_line_feed_before_a_boundary_is_content_where_lines_end_with_both() -> None:
    assert contents(read(body(b"a\n--frontier\r\nb"))) == [b"a\n--frontier\r\nb"]


def test_carriage_returns_before_line_feeds_are_content_where_lines_end_with_one() -> None:
    assert contents(read(body(b"a\r").replace(b"\r\n", b"\n"))) == [b"a\r"]


@pytest.mark.parametrize("boundary", ["x" * 70, "a b", "'()+_,-./:=?", "=_next.part"])
def test_any_boundary_of_mime_is_recognized(boundary: str) -> None:
    data = b"--frontier\r\n" + PART + b"--frontier--"
    reader = MultipartReader(boundary)
    events = list(reader.feed(data.replace(b"frontier", boundary.encode())))
    reader.finish()
    assert contents(events) == [b"abc"]


@pytest.mark.parametrize(
    "data",
    [
        b"--frontier\r\nno colon\r\n\r\nabc\r\n--frontier--",
        b"--frontier\r\n: no name\r\n\r\nabc\r\n--frontier--",
        b"--frontier\r\n folded from nothing\r\n\r\nabc\r\n--frontier--",
    ],
)
def test_lines_that_mime_does_not_allow_are_malformed(data: bytes) -> None:
    with pytest.raises(MalformedMultipart, match="malformed"):
        read(data)


def test_events_are_given_lazily() -> None:
    reader = MultipartReader(BOUNDARY)
    events = reader.feed(body(*[b""] * 1000))
    assert isinstance(next(events), PartHeaders)
    assert isinstance(next(events), PartEnd)
