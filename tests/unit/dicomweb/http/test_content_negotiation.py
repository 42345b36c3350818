import pytest
from starlette.requests import Request

from dimse_ingestion.dicomweb.http.content_negotiation import (
    JSON,
    XML,
    MediaType,
    accepted_types,
    choose_offer,
)
from dimse_ingestion.dicomweb.http.problems import Problem

DICOM = 'multipart/related; type="application/dicom"'


def request_with(*accept: str, query: str = "") -> Request:
    headers = [(b"accept", each.encode()) for each in accept]
    return Request({"type": "http", "headers": headers, "query_string": query.encode()})


def offer(accept: str, *offers: str) -> str:
    return choose_offer(accepted_types(request_with(accept)), offers).offer


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("*/*", JSON),
        ("application/*", JSON),
        ("application/json", JSON),
        ("APPLICATION/DICOM+JSON", JSON),
        ("multipart/related", XML),
        ('multipart/related; type="application/dicom+xml"', XML),
        ("multipart/related; type=application/dicom+xml", XML),
        (f"{JSON};q=0.5, {XML}", XML),
        (f"{JSON};q=0.5, {XML};q=0.4", JSON),
        (f"*/*;q=0.9, {JSON};q=0.1", XML),
        (f"*/*, {JSON};q=0", XML),
        (f"text/html, {XML};q=0.001", XML),
    ],
)
def test_the_most_wanted_offer_is_chosen(accept: str, wanted: str) -> None:
    assert offer(accept, JSON, XML) == wanted


def test_without_accept_the_first_offer_is_chosen() -> None:
    assert choose_offer(accepted_types(request_with()), [JSON, XML]).offer == JSON


@pytest.mark.parametrize(
    "accept", ["text/html", f"{JSON};q=0", 'multipart/related; type="image/png"']
)
def test_an_unavailable_media_type_is_406(accept: str) -> None:
    with pytest.raises(Problem, match="includes none of the available media types") as raised:
        offer(accept, JSON, XML)
    assert raised.value.status == 406


@pytest.mark.parametrize(
    "accept", ["json", "a/b/c", "image/png;q=2", "image/png;q=much", "a/b," * 200]
)
def test_a_malformed_accept_is_400(accept: str) -> None:
    with pytest.raises(Problem) as raised:
        accepted_types(request_with(accept))
    assert raised.value.status == 400


def test_the_query_string_overrides_the_header() -> None:
    assert (
        choose_offer(
            accepted_types(
                request_with(
                    "*/*", query="accept=multipart/related;type=%22application/dicom%2Bxml%22"
                )
            ),
            [JSON, XML],
        ).offer
        == XML
    )


def test_several_headers_are_one_list_and_quotes_hide_commas() -> None:
    ranges = accepted_types(
        request_with('multipart/related; type="image/png, or so"; q=0.2', "image/jpeg")
    )
    assert [each.name for each in ranges] == ["image/jpeg", "multipart/related"]


def test_the_ranges_have_the_transfer_syntaxes_in_order() -> None:
    accept = f"{DICOM}; transfer-syntax=1.2.4; q=0.3, {DICOM}; transfer-syntax=*, text/html"
    choice = choose_offer(accepted_types(request_with(accept)), [DICOM])
    assert [each.transfer_syntax for each in choice.ranges] == ["*", "1.2.4"]
    assert {each.part for each in choice.ranges} == {"application/dicom"}


def test_a_range_of_parts_includes_its_media_types() -> None:
    images = MediaType("multipart/related", {"type": "image/*"})
    assert images.includes(MediaType("multipart/related", {"type": "image/png"}))
    assert not images.includes(MediaType("multipart/related", {"type": "video/mpeg"}))
    assert not images.includes(MediaType("image/png"))
