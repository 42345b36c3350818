from pathlib import Path

import pytest

from dimse_ingestion.settings import (
    AzureBucket,
    FolderBucket,
    MountedMissing,
    S3Bucket,
    check_mounted,
    read_bucket,
    read_credential,
    read_database_url,
)


def mounted(folder: Path, **keys: str) -> Path:
    folder.mkdir(exist_ok=True)
    for key, value in keys.items():
        (folder / key).write_text(value)
    return folder


def s3_secret(folder: Path) -> Path:
    return mounted(folder / "secret", AWS_ACCESS_KEY_ID="id\n", AWS_SECRET_ACCESS_KEY="key\n")


def test_an_s3_bucket_by_the_originals_keys(tmp_path: Path) -> None:
    config = mounted(
        tmp_path / "config",
        BUCKET_HOST="minio",
        BUCKET_NAME="images",
        BUCKET_PORT="9000",
        BUCKET_REGION="us-south",
    )
    bucket = read_bucket(config, s3_secret(tmp_path))
    assert bucket == S3Bucket("images", "us-south", "http://minio:9000", "id", "key")
    assert "key" not in repr(bucket).replace("access_key_id", "")


@pytest.mark.parametrize(
    ("keys", "endpoint"),
    [
        ({}, ""),
        ({"BUCKET_HOST": "s3.example"}, "https://s3.example"),
        ({"BUCKET_HOST": "s3.example", "BUCKET_PORT": "443"}, "https://s3.example:443"),
        (
            {"BUCKET_HOST": "minio", "BUCKET_PORT": "9000", "BUCKET_SECURE": "true"},
            "https://minio:9000",
        ),
        ({"BUCKET_HOST": "https://minio", "BUCKET_PORT": "9000"}, "https://minio:9000"),
        ({"BUCKET_HOST": "http://minio:9000", "BUCKET_PORT": "9000"}, "http://minio:9000"),
    ],
)
def test_host_and_port_become_one_endpoint(
    tmp_path: Path, keys: dict[str, str], endpoint: str
) -> None:
    config = mounted(tmp_path / "config", BUCKET_NAME="images", **keys)
    bucket = read_bucket(config, s3_secret(tmp_path))
    assert isinstance(bucket, S3Bucket)
    assert bucket.endpoint == endpoint


def test_azure_and_a_folder(tmp_path: Path) -> None:
    config = mounted(tmp_path / "config", AZURE_CONTAINER_NAME="images")
    secret = mounted(tmp_path / "secret", AZURE_STORAGE_CONNECTION_STRING="hush")
    assert read_bucket(config, secret) == AzureBucket("images", "hush")
    mounted(config, LOCAL_STORAGE_PATH="/data")
    assert read_bucket(config, tmp_path / "nowhere") == FolderBucket(Path("/data"))


def test_what_is_missing_is_named_and_found_when_it_appears(tmp_path: Path) -> None:
    config, secret = tmp_path / "config", tmp_path / "secret"
    with pytest.raises(MountedMissing, match=f"Missing bucket ConfigMap {config}"):
        read_bucket(config, secret)
    mounted(config)
    with pytest.raises(MountedMissing, match=f"Missing bucket ConfigMap {config}"):
        read_bucket(config, secret)
    mounted(config, BUCKET_REGION="us-south")
    with pytest.raises(MountedMissing, match=f"Missing bucket Secret {secret}"):
        read_bucket(config, secret)
    s3_secret(tmp_path)
    with pytest.raises(MountedMissing, match="Missing key BUCKET_NAME in bucket ConfigMap"):
        read_bucket(config, secret)
    mounted(config, BUCKET_NAME="images")
    assert read_bucket(config, secret).name == "images"  # type: ignore[union-attr] # S3 here


def test_a_mount_as_kubernetes_swaps_it(tmp_path: Path) -> None:
    hidden = mounted(tmp_path / "..2026_01_01", token="jwt", seed="SU")
    (tmp_path / "..data").symlink_to(hidden)
    for key in ("token", "seed"):
        (tmp_path / key).symlink_to(tmp_path / "..data" / key)
    assert read_credential(str(tmp_path)) == {"token": "jwt", "seed": "SU"}


def test_a_credential_is_a_value_a_file_or_nothing(tmp_path: Path) -> None:
    file = tmp_path / "token"
    assert read_credential("") == {}
    assert read_credential("abc") == {"token": "abc"}
    with pytest.raises(MountedMissing, match=f"Missing credential {file}"):
        read_credential(str(file))
    file.write_text("first\n")
    assert read_credential(str(file)) == {"token": "first"}
    file.write_text("rotated\n")
    assert read_credential(str(file)) == {"token": "rotated"}


def missing_sentence(config: Path, secret: Path) -> str:
    with pytest.raises(MountedMissing) as missing:
        read_bucket(config, secret, config_name="space", secret_name="img-ingest-s3")
    return str(missing.value)


def test_what_is_missing_is_called_as_kubernetes_calls_it(tmp_path: Path) -> None:
    config, secret = mounted(tmp_path / "config"), mounted(tmp_path / "secret")
    assert missing_sentence(config, secret) == "Missing bucket ConfigMap space: create it."
    mounted(config, BUCKET_REGION="us-south")
    assert missing_sentence(config, secret) == "Missing bucket Secret img-ingest-s3: create it."
    mounted(secret, AWS_ACCESS_KEY_ID="id")
    assert (
        missing_sentence(config, secret)
        == "Missing key BUCKET_NAME in bucket ConfigMap space: add it."
    )
    mounted(config, BUCKET_NAME="images")
    assert missing_sentence(config, secret) == (
        "Missing key AWS_SECRET_ACCESS_KEY in bucket Secret img-ingest-s3: add it."
    )


@pytest.mark.parametrize("path", ["", "token"])
def test_an_empty_credential_secret_is_missing(tmp_path: Path, path: str) -> None:
    with pytest.raises(MountedMissing) as missing:
        read_credential(str(tmp_path / path), "radiology-nats")
    assert str(missing.value) == "Missing NATS credential Secret radiology-nats: create it."


def test_a_credential_under_another_key_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MountedMissing) as missing:
        read_credential(str(mounted(tmp_path, jwt="eyJ")), "radiology-nats")
    assert str(missing.value) == (
        "Missing key nats.creds (or token, or user and password) in NATS credential Secret "
        "radiology-nats: add it."
    )


def test_a_file_that_is_missing_is_a_key_of_its_secret(tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    check_mounted("NATS CA Secret", file, "")
    with pytest.raises(MountedMissing, match="Missing NATS CA Secret nats-ca: create it"):
        check_mounted("NATS CA Secret", file, "nats-ca")
    mounted(tmp_path, other="x")
    with pytest.raises(MountedMissing, match=r"Missing key ca\.crt in NATS CA Secret nats-ca"):
        check_mounted("NATS CA Secret", file, "nats-ca")
    file.touch()
    check_mounted("NATS CA Secret", file, "nats-ca")


def test_a_database_url_is_given_or_mounted(tmp_path: Path) -> None:
    assert read_database_url("sqlite:////data/catalogue.db") == "sqlite:////data/catalogue.db"
    secret = mounted(tmp_path / "secret")
    with pytest.raises(MountedMissing, match=f"Missing database Secret {secret}"):
        read_database_url(str(secret))
    with pytest.raises(MountedMissing, match="Missing database Secret core-db: create it"):
        read_database_url(str(secret), "core-db")
    mounted(secret, password="hush")
    with pytest.raises(MountedMissing, match="Missing key DATABASE_URL in database Secret core-db"):
        read_database_url(str(secret), "core-db")
    mounted(secret, DATABASE_URL="postgresql://a/b\n")
    assert read_database_url(str(secret)) == "postgresql://a/b"
    assert read_database_url(str(secret / "DATABASE_URL")) == "postgresql://a/b"
    mounted(tmp_path / "other", url="postgresql://c/d")
    assert read_database_url(str(tmp_path / "other")) == "postgresql://c/d"


def test_a_database_url_in_a_file_that_is_missing_or_empty(tmp_path: Path) -> None:
    file = tmp_path / "url"
    with pytest.raises(MountedMissing, match=f"Missing database URL {file}: mount it"):
        read_database_url(str(file))
    file.touch()
    with pytest.raises(MountedMissing, match=f"{file} is empty"):
        read_database_url(str(file))
