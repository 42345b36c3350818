import pytest

from dimse_ingestion.settings.mounted import MountedMissing
from dimse_ingestion.transport.nats.credentials import Credential, CredentialError
from dimse_ingestion.transport.nats.options import NatsOptions

SETTINGS = NatsOptions(addresses="a:1", name="proxy p1", tls_handshake_first=True)


def test_a_missing_secret_becomes_a_credential_error() -> None:
    def missing() -> dict[str, str]:
        raise MountedMissing("Missing credential Secret /x: create it.")

    with pytest.raises(CredentialError, match="Missing credential Secret /x: create it"):
        NatsOptions(addresses="a:1", name="x", credential=missing).read_credential()


@pytest.mark.parametrize(
    ("credential", "options"),
    [
        (Credential("", token="t"), {"token"}),
        (Credential("", user="u", password="p"), {"user", "password"}),
        (Credential("", seed="S"), {"nkeys_seed_str"}),
        (Credential("", jwt="j", seed="S"), {"user_jwt_cb", "signature_cb"}),
        (Credential("", jwt="j"), {"user_jwt_cb", "signature_cb"}),
        (Credential(""), set()),
    ],
)
def test_each_kind_of_credential_sets_only_its_options(
    credential: Credential, options: set[str]
) -> None:
    always = {"name", "connect_timeout", "tls", "tls_handshake_first"}
    assert set(SETTINGS.connect_options(SETTINGS.servers[0], credential)) == always | options


def test_the_handshake_comes_first_only_over_tls() -> None:
    for address, first in (("tls://a", True), ("nats://a", False), ("wss://a", False)):
        settings = NatsOptions(addresses=address, name="x", tls_handshake_first=True)
        options = settings.connect_options(settings.servers[0], Credential(""))
        assert options["tls_handshake_first"] is first
