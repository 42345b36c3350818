"""What is mounted is read from where the chart mounts it, and missed by its name in Kubernetes."""

from pathlib import Path

import pytest

from dimse_ingestion.settings import (
    AzureBucket,
    CatalogueSettings,
    FolderBucket,
    IngestionSettings,
    MountedMissing,
    NatsSettings,
    S3Bucket,
    StorageSpaceSettings,
    check_mounted,
)
from harness.chart.rendering import rendered, shipped_values
from tests.chart.mounted_pod import MADE_BY_USERS, MountedPod


@pytest.fixture
def pod(tmp_path: Path) -> MountedPod:
    """Return an ingestion service with everything mounted that can be."""
    rendering = rendered(shipped_values("ci/everything-on-values.yaml"))
    return MountedPod(rendering.pod("ingestion"), rendering, tmp_path)


def _space(values: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> StorageSpaceSettings:
    rendering = rendered(shipped_values(values))
    pod = MountedPod(rendering.pod("ingestion"), rendering, root)
    pod.mount()
    settings = pod.settings(monkeypatch)
    assert isinstance(settings, StorageSpaceSettings)
    return settings


def test_bucket_is_read_from_its_config_map_and_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = _space("ci/minimal-values.yaml", tmp_path, monkeypatch).read_bucket()
    assert isinstance(bucket, S3Bucket)
    assert (bucket.name, bucket.endpoint) == ("images", "http://minio:9000")
    assert (bucket.access_key_id, bucket.secret_access_key) == ("key", "secret")


def test_minio_of_the_example_is_read_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = _space("examples/minio.yaml", tmp_path, monkeypatch).read_bucket()
    assert isinstance(bucket, S3Bucket)
    assert (bucket.name, bucket.endpoint) == ("radiology", "http://minio.minio.svc:9000")


def test_amazon_of_the_example_is_read_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = _space("examples/s3.yaml", tmp_path, monkeypatch).read_bucket()
    assert isinstance(bucket, S3Bucket)
    assert (bucket.endpoint, bucket.region) == ("", "eu-central-1")


def test_container_at_azure_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = {"AZURE_STORAGE_CONNECTION_STRING": "AccountName=images"}
    monkeypatch.setitem(MADE_BY_USERS, "bucket-secret", key)
    bucket = _space("ci/azure-values.yaml", tmp_path, monkeypatch).read_bucket()
    assert bucket == AzureBucket("images", "AccountName=images")


def test_folder_that_is_the_bucket_is_the_volume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = _space("ci/folder-values.yaml", tmp_path, monkeypatch).read_bucket()
    assert bucket == FolderBucket(tmp_path / "var/lib/images")
    assert bucket.path.is_dir()


def test_credential_for_nats_is_read(pod: MountedPod, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.mount()
    settings = pod.settings(monkeypatch)
    assert isinstance(settings, NatsSettings)
    assert settings.read_credential() == MADE_BY_USERS["nats-token"]
    for path in (settings.nats_ca_path, settings.nats_certificate_path, settings.nats_key_path):
        assert path is not None
        assert path.is_file()


@pytest.mark.parametrize("file", ["ci/postgresql-values.yaml", "ci/minimal-values.yaml"])
def test_database_is_read_from_its_secret_or_is_a_file_on_the_volume(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendering = rendered(shipped_values(file))
    pod = MountedPod(rendering.pod("catalogue"), rendering, tmp_path)
    pod.mount()
    settings = pod.settings(monkeypatch)
    assert isinstance(settings, CatalogueSettings)
    if "postgresql" in file:
        assert settings.read_database_url() == MADE_BY_USERS["database"]["DATABASE_URL"]
    else:
        mounts = [mount["mountPath"] for mount in pod.pod.container["volumeMounts"]]
        path = settings.read_database_url().removeprefix("sqlite:///")
        assert str(Path(path).parent) in mounts


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("bucket-config", "Missing bucket ConfigMap img-ingest-s3: create it."),
        ("bucket-secret", "Missing bucket Secret img-ingest-s3: create it."),
        ("nats-token", "Missing NATS credential Secret nats-ingestion: create it."),
        ("nats-ca", "Missing NATS CA Secret nats-ca: create it."),
    ],
)
def test_what_is_missing_is_called_by_its_name(
    missing: str, sentence: str, pod: MountedPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod.mount(missing)
    settings = pod.settings(monkeypatch)
    assert isinstance(settings, IngestionSettings)
    with pytest.raises(MountedMissing) as output:
        _read_all(settings)
    assert str(output.value) == sentence


def test_database_that_is_missing_is_called_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendering = rendered(shipped_values("ci/postgresql-values.yaml"))
    pod = MountedPod(rendering.pod("catalogue"), rendering, tmp_path)
    pod.mount("database")
    settings = pod.settings(monkeypatch)
    assert isinstance(settings, CatalogueSettings)
    with pytest.raises(MountedMissing, match="Missing database Secret catalogue-database"):
        settings.read_database_url()


def _read_all(settings: IngestionSettings) -> None:
    settings.read_bucket()
    settings.read_credential()
    assert settings.nats_ca_path is not None
    check_mounted("NATS CA Secret", settings.nats_ca_path, settings.nats_ca_secret_name)
