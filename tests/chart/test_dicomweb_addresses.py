"""The address at which viewers reach DICOMweb: the Ingress, the events and the answers agree."""

from typing import Any

import pytest

from harness.chart.rendering import rendered, shipped_values

SPACE = shipped_values("ci/minimal-values.yaml")
HOST = "images.example.org"
TRUSTED = {"DICOMWEB_TRUSTED_PROXIES": "10.0.0.0/8"}


def _rendered_environment(dicomweb: dict[str, Any]) -> dict[str, str]:
    return rendered(SPACE | {"dicomweb": dicomweb}).pod("dicomweb").environment


def _behind(settings: dict[str, str] | None = None, /, **ingress: str) -> dict[str, str]:
    behind = {"enabled": True, "host": HOST} | ingress
    return _rendered_environment({"ingress": behind, "settings": settings or {}})


@pytest.mark.parametrize(
    ("ingress", "address"),
    [
        ({}, f"http://{HOST}"),
        ({"tlsSecret": "images-tls"}, f"https://{HOST}"),
        ({"tlsSecret": "images-tls", "path": "/pacs"}, f"https://{HOST}/pacs"),
        ({"path": "/pacs/"}, f"http://{HOST}/pacs"),
        ({"path": "/pacs(/|$)(.*)"}, f"http://{HOST}/pacs"),
        ({"path": "/dicomweb"}, f"http://{HOST}"),
    ],
    ids=lambda value: value if isinstance(value, str) else ",".join(value.values()) or "plain",
)
def test_answers_name_the_address_that_events_name(ingress: dict[str, str], address: str) -> None:
    output = _behind(**ingress)
    assert output["DICOMWEB_EXTERNAL_ADDRESS"] == address
    assert output["WADO_EXTERNAL_ENDPOINT"] == f"{address}/dicomweb"


def test_where_proxies_tell_of_tls_that_the_ingress_does_not_know_they_are_believed() -> None:
    assert "DICOMWEB_EXTERNAL_ADDRESS" not in _behind(TRUSTED)
    output = _behind(TRUSTED, tlsSecret="images-tls")
    assert output["DICOMWEB_EXTERNAL_ADDRESS"] == f"https://{HOST}"


def test_what_is_set_beats_the_ingress() -> None:
    output = _behind({"DICOMWEB_EXTERNAL_ADDRESS": "https://pacs.example.org"})
    assert output["DICOMWEB_EXTERNAL_ADDRESS"] == "https://pacs.example.org"


def test_a_host_for_many_names_is_no_address() -> None:
    assert "DICOMWEB_EXTERNAL_ADDRESS" not in _behind(host="*.example.org")


def test_without_ingress_answers_are_as_clients_reached_it_at_the_services_port() -> None:
    output = _rendered_environment({"service": {"port": 80}})
    assert "DICOMWEB_EXTERNAL_ADDRESS" not in output
    assert output["DICOMWEB_EXTERNAL_PORT"] == "80"
