import pytest

from dimse_ingestion.storage.azure_connection import parse


def test_a_key_with_the_public_endpoint() -> None:
    connection = parse(
        "DefaultEndpointsProtocol=https;AccountName=images;AccountKey=a+b/c==;"
        "EndpointSuffix=core.windows.net"
    )
    assert connection.account_name == "images"
    assert connection.account_key == "a+b/c=="
    assert connection.endpoint == "https://images.blob.core.windows.net"
    assert "a+b/c" not in repr(connection)


def test_a_signature_with_an_endpoint_of_its_own() -> None:
    connection = parse(
        "BlobEndpoint=https://images.blob.core.usgovcloudapi.net/;"
        "SharedAccessSignature=?sv=2024&sig=abc%3D"
    )
    assert connection.account_name == "images"
    assert connection.sas_token == "sv=2024&sig=abc%3D"
    assert connection.endpoint == "https://images.blob.core.usgovcloudapi.net"


def test_the_emulator() -> None:
    connection = parse("UseDevelopmentStorage=true")
    assert connection.endpoint == "http://127.0.0.1:10000/devstoreaccount1"
    assert connection.account_key


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("", "AccountKey"),
        ("AccountName=a", "AccountKey"),
        ("AccountKey=secret", "AccountName"),
        ("no sense at all", "AccountKey"),
    ],
)
def test_names_what_is_missing_and_no_value(text: str, missing: str) -> None:
    with pytest.raises(ValueError, match=missing) as raised:
        parse(text)
    assert "secret" not in str(raised.value)
