from ipaddress import ip_network

import pytest
from starlette.requests import Request

from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.dicomweb.http.urls import Resource, ServiceUrls, bulk_data, resource

TRUSTED = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


def request_from(client: str = "10.1.2.3", **headers: str) -> Request:
    given = {"host": "inside:8081"} | {name.replace("_", "-"): headers[name] for name in headers}
    return Request(
        {
            "type": "http",
            "scheme": "http",
            "path": "/dicomweb/studies",
            "client": (client, 5000),
            "server": ("10.9.9.9", 8081),
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        }
    )


@pytest.mark.parametrize(
    ("headers", "base"),
    [
        ({}, "http://inside:8081"),
        ({"x_forwarded_host": "pacs.example"}, "http://pacs.example"),
        (
            {"x_forwarded_proto": "https, http", "x_forwarded_host": "pacs.example, inside"},
            "https://pacs.example",
        ),
        (
            {"x_forwarded_host": "pacs.example", "x_forwarded_prefix": "/radiology/"},
            "http://pacs.example/radiology",
        ),
        (
            {"forwarded": 'for=1.2.3.4;proto=https;host="pacs.example:444", for=5.6.7.8'},
            "https://pacs.example:444",
        ),
        ({"host": "[fd00::1]:80"}, "http://[fd00::1]:80"),
        ({"x_forwarded_host": "pacs", "x_forwarded_prefix": "/<script>"}, "http://pacs"),
    ],
)
def test_the_base_is_as_the_client_reached_it(headers: dict[str, str], base: str) -> None:
    assert ServiceUrls("", TRUSTED).base(request_from(**headers)) == f"{base}/dicomweb"


def test_forwarded_headers_of_untrusted_clients_are_ignored() -> None:
    request = request_from(
        "192.0.2.1", x_forwarded_host="evil.example", forwarded="host=evil.example"
    )
    assert ServiceUrls("", TRUSTED).base(request) == "http://inside:8081/dicomweb"
    assert not ServiceUrls("", TRUSTED).is_trusted(request)


@pytest.mark.parametrize(
    ("host", "port", "base"),
    [
        ("127.0.0.1", 0, "127.0.0.1:8081"),
        ("[fd00::1]", 0, "[fd00::1]:8081"),
        ("pacs.example", 4242, "pacs.example:4242"),
        ("pacs.example", 80, "pacs.example"),
        ("pacs.example:99", 4242, "pacs.example:99"),
    ],
)
def test_the_listening_port_is_added_to_a_host_without_a_port(
    host: str, port: int, base: str
) -> None:
    """Clients such as dicomweb-client leave out other ports than 80, too."""
    request = request_from("192.0.2.1", host=host)
    assert ServiceUrls("", TRUSTED, port).base(request) == f"http://{base}/dicomweb"


def test_no_port_is_added_to_a_host_from_a_trusted_proxy() -> None:
    assert ServiceUrls("", TRUSTED).base(request_from(host="pacs.example")) == (
        "http://pacs.example/dicomweb"
    )


@pytest.mark.parametrize(
    ("external", "prefix"),
    [
        ("", ""),
        ("https://pacs.example/", ""),
        ("https://pacs.example/dicomweb", ""),
        ("https://pacs.example/radiology/dicomweb/", "/radiology"),
        ("https://pacs.example/radiology/north", "/radiology/north"),
    ],
)
def test_a_configured_url_may_have_a_path(external: str, prefix: str) -> None:
    assert ServiceUrls(external, TRUSTED).prefix == prefix


@pytest.mark.parametrize("external", ["https://pacs.example", "https://pacs.example/dicomweb/"])
def test_a_configured_url_overrides_all(external: str) -> None:
    request = request_from(x_forwarded_host="other.example")
    assert ServiceUrls(external, TRUSTED).base(request) == "https://pacs.example/dicomweb"


@pytest.mark.parametrize("host", ["", 'a"b', "a b", "a/b", "user@host"])
def test_a_malformed_host_is_refused(host: str) -> None:
    with pytest.raises(Problem):
        ServiceUrls("", ()).base(request_from(host=host))


def at(**uids: str) -> Request:
    return Request({"type": "http", "path_params": uids})


def test_a_path_names_a_resource() -> None:
    assert resource(at(study="1.2", series="1.3", instance="1.4")).path == (
        "/studies/1.2/series/1.3/instances/1.4"
    )
    assert resource(at(study="1.2")) == Resource("1.2")


@pytest.mark.parametrize("uid", ["1..2", "1.2/", "..", "1" * 65, "1.2 ", "a", "1.2\n"])
def test_an_invalid_uid_is_refused_without_its_value(uid: str) -> None:
    with pytest.raises(Problem, match="Study Instance UID in the URL is not a UID") as raised:
        resource(at(study=uid))
    assert raised.value.status == 400


def test_bulk_data_has_the_url_of_its_path() -> None:
    of = Resource("1.2", "1.3", "1.4")
    assert bulk_data("http://x/dicomweb", of, ("00400275", "2", "00091002")) == (
        "http://x/dicomweb/studies/1.2/series/1.3/instances/1.4/bulkdata/00400275/2/00091002"
    )
