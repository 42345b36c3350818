from pathlib import Path
from typing import Any

import pytest

from dimse_ingestion.settings import CatalogueSettings, ConfigurationMistake

FILES = {"certificate_path": Path("/c/tls.crt"), "key_path": Path("/c/tls.key")}


def settings(**more: Any) -> CatalogueSettings:
    return CatalogueSettings.load(database_url="sqlite:////data/c.db", **more)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"certificate_path": Path("/c/tls.crt")}, "belong together: set both"),
        ({"key_path": Path("/c/tls.key")}, "belong together: set both"),
        (FILES, "DIMSE_CATALOGUE_TOKEN is not set: give the token"),
    ],
)
def test_certificate_key_and_token_belong_together(given: dict[str, Path], message: str) -> None:
    with pytest.raises(ConfigurationMistake, match=message):
        settings(**given)


def test_a_network_is_served_with_tls_or_in_so_many_words() -> None:
    with pytest.raises(ConfigurationMistake, match="CERTIFICATE_PATH is not set, and events and"):
        settings().refuse_exposed()
    with pytest.raises(ConfigurationMistake, match="DIMSE_CATALOGUE_INSECURE=true"):
        settings(token="abc").refuse_exposed()
    settings(**FILES, token="abc").refuse_exposed()
    settings(http_host="127.0.0.1").refuse_exposed()
    settings(insecure=True).refuse_exposed()


def test_the_token_stands_in_no_repr() -> None:
    assert "secret-1" not in repr(settings(token="secret-1"))
