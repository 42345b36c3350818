"""Each failure of a real S3 server, and the sentence and status reported for it."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dimse_ingestion.failures import AccessDenied, Failure, Unavailable
from dimse_ingestion.settings import S3Bucket
from dimse_ingestion.storage import multipart_upload
from dimse_ingestion.storage.contract import Bucket
from dimse_ingestion.storage.factory import open_bucket
from dimse_ingestion.storage.rotating import RotatingBucket
from harness.s3_server import S3Server, s3_server, why_not
from harness.services import eventually

MIB = 2**20
DOWN = (Unavailable, True)
DENIED = (AccessDenied, True)


@pytest.fixture(scope="module", params=["versitygw", "minio"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[S3Server]:
    if absent := why_not(request.param):
        pytest.skip(absent)
    with s3_server(request.param, tmp_path_factory.mktemp(request.param)) as started:
        started.make_bucket("space")
        yield started


@pytest.fixture
def location(server: S3Server) -> S3Bucket:
    return S3Bucket("space", "us-east-1", server.endpoint, server.access_key, server.secret_key)


async def zeros(size: int) -> AsyncIterator[bytes]:
    for start in range(0, size, MIB):
        yield bytes(min(MIB, size - start))


async def failures(bucket: Bucket) -> list[Failure]:
    """Return the failure of each operation on the bucket."""
    calls = [
        bucket.put("small", zeros(10), 10),
        bucket.put("large", zeros(12 * MIB), 12 * MIB),
        bucket.get_range("small", 0, 1),
        bucket.check(),
        bucket.check(write=True),
    ]
    found = []
    for call in calls:
        with pytest.raises(Failure) as raised:
            await call
        found.append(raised.value)
    return found


@pytest.mark.parametrize(
    ("wrong", "kind", "sentence"),
    [
        ({"name": "absent"}, DOWN, "Bucket absent is missing: create it"),
        ({"access_key_id": "nobody"}, DENIED, "correct AWS_ACCESS_KEY_ID"),
        ({"secret_access_key": "wrong-secret"}, DENIED, "correct AWS_SECRET_ACCESS_KEY"),
        ({"endpoint": "http://127.0.0.1:1"}, DOWN, "correct BUCKET_HOST and BUCKET_PORT"),
        (
            {"endpoint": "http://nowhere.invalid"},
            DOWN,
            "correct BUCKET_HOST and BUCKET_PORT",
        ),
    ],
)
async def test_a_wrong_configuration_has_a_sentence_that_says_what_to_do(
    location: S3Bucket, wrong: dict[str, str], kind: tuple[type[Failure], bool], sentence: str
) -> None:
    bucket = open_bucket(replace(location, **wrong), timeout=20)
    for failure in await failures(bucket):
        assert (type(failure), failure.transient) == kind
        assert sentence in failure.comment
        assert replace(location, **wrong).secret_access_key not in failure.comment


async def test_a_server_that_is_silent_is_given_up(server: S3Server, location: S3Bucket) -> None:
    patient, impatient = open_bucket(location), open_bucket(location, timeout=0.5)
    await patient.check()
    server.pause()
    try:
        for failure in await failures(impatient):
            assert (type(failure), failure.transient) == DOWN
            assert "Bucket space gave no answer in time" in failure.comment
    finally:
        server.go_on()
    await patient.check(write=True)


class BrokenOff(Exception):
    pass


async def test_an_abort_that_takes_long_goes_on_alone_and_leaves_nothing(
    server: S3Server, location: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multipart_upload, "_ABORT_TIMEOUT", 0.1)
    bucket = open_bucket(location)
    of_others = set(server.unfinished_uploads("space"))

    def left() -> set[str]:
        return set(server.unfinished_uploads("space")) - of_others

    async def breaking() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield bytes(MIB)
        server.pause()
        raise BrokenOff

    try:
        with pytest.raises(BrokenOff):
            await bucket.put("broken", breaking(), 40 * MIB)
        assert left()
    finally:
        server.go_on()
    await asyncio.to_thread(eventually, left, lambda found: not found)
    assert await bucket.head("broken") is None


async def test_a_server_killed_in_the_middle_of_an_upload_and_back(
    server: S3Server, location: S3Bucket
) -> None:
    bucket = open_bucket(location, timeout=5)

    async def with_a_kill() -> AsyncIterator[bytes]:
        for number in range(40):
            if number == 20:
                await asyncio.to_thread(server.stop, signal.SIGKILL)
            yield bytes(MIB)

    with pytest.raises(Unavailable) as raised:
        await bucket.put("killed", with_a_kill(), 40 * MIB)
    assert (type(raised.value), raised.value.transient) == DOWN
    await asyncio.to_thread(server.start)
    patient = open_bucket(location)
    assert await patient.head("killed") is None
    await patient.put("killed", zeros(40 * MIB), 40 * MIB)
    assert await patient.head("killed") is not None


async def test_rotated_keys_are_taken_up_without_a_restart(location: S3Bucket) -> None:
    described = [replace(location, secret_access_key="of-last-year")]
    bucket = RotatingBucket(lambda: described[0], fresh=3600)
    with pytest.raises(AccessDenied):
        await bucket.check()
    described[0] = location
    await bucket.check(write=True)


async def test_a_put_refused_by_keys_that_have_just_changed_may_be_repeated(
    location: S3Bucket,
) -> None:
    described = [replace(location, secret_access_key="of-last-year")]
    bucket = RotatingBucket(lambda: described[0], fresh=3600)
    assert await failing(bucket) is AccessDenied
    described[0] = location
    assert await failing(bucket) is Unavailable
    await bucket.put("rotated", zeros(10), 10)


async def failing(bucket: Bucket) -> type[Failure]:
    with pytest.raises(Failure) as raised:
        await bucket.put("rotated", zeros(10), 10)
    return type(raised.value)


@pytest.fixture(scope="module", params=["versitygw", "minio"])
def tls_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[S3Server]:
    if absent := why_not(request.param):
        pytest.skip(absent)
    with s3_server(request.param, tmp_path_factory.mktemp(request.param), tls=True) as started:
        started.make_bucket("space")
        yield started


async def test_a_ca_of_ones_own_is_trusted_when_it_is_given(tls_server: S3Server) -> None:
    location = S3Bucket(
        "space",
        "us-east-1",
        tls_server.endpoint,
        tls_server.access_key,
        tls_server.secret_key,
        certificate_authority=tls_server.authority,
    )
    bucket = open_bucket(location)
    await bucket.check(write=True)
    await bucket.put("large", zeros(12 * MIB), 12 * MIB)
    for failure in await failures(open_bucket(replace(location, certificate_authority=""))):
        assert (type(failure), failure.transient) == DOWN
        assert "certificate is not trusted: set BUCKET_CA" in failure.comment


async def test_an_invalid_ca_has_a_sentence(tmp_path: Path) -> None:
    location = S3Bucket("space", "us-east-1", "https://127.0.0.1:1", "a", "b", "no PEM")
    with pytest.raises(Unavailable, match="can't be opened") as raised:
        open_bucket(location)
    assert raised.value.transient
