import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dimse_ingestion.storage.keys import INSTANCES, InstanceKey, instance_key, parse_key

SHA256 = "ab" * 32
UIDS = st.from_regex(r"[0-2](\.[1-9][0-9]{0,8}){1,5}", fullmatch=True)


def test_the_key_begins_with_the_digest() -> None:
    key = instance_key(SHA256, "1.2.840.10008.1.2.1", "1.2.3")
    assert key == f"instances/ab/{SHA256}-1.2.840.10008.1.2.1/1.2.3.dcm"
    assert key.startswith(INSTANCES)


@given(st.binary(min_size=32, max_size=32), UIDS, UIDS)
@settings(max_examples=50)
def test_a_key_is_parsed_into_its_parts(digest: bytes, transfer_syntax: str, instance: str) -> None:
    key = instance_key(digest.hex(), transfer_syntax, instance)
    assert parse_key(key) == InstanceKey(digest.hex(), transfer_syntax, instance)
    assert str(parse_key(key)) == key


@pytest.mark.parametrize("uid", ["", "..", ".", "1.2/3", "1.2.3\n", "1.2.x", "1" * 65, "../1"])
def test_a_uid_cannot_add_a_path(uid: str) -> None:
    with pytest.raises(ValueError, match="UID"):
        instance_key(SHA256, "1.2.840.10008.1.2", uid)
    with pytest.raises(ValueError, match="UID"):
        instance_key(SHA256, uid, "1.2.3")


@pytest.mark.parametrize("digest", ["", SHA256.upper(), SHA256 + "a", SHA256[:-1] + "g"])
def test_a_digest_is_a_digest(digest: str) -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        instance_key(digest, "1.2.840.10008.1.2", "1.2.3")


@pytest.mark.parametrize(
    "key",
    [
        "",
        "checks/x",
        f"instances/cd/{SHA256}-1.2/1.2.3.dcm",
        f"instances/ab/{SHA256}-1.2/1",
        f"instances/ab/{SHA256}/1.2/1.2.3.dcm",
    ],
)
def test_other_keys_are_none(key: str) -> None:
    assert parse_key(key) is None
