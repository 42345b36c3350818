"""Answers that the S3 servers here can't be made to give, given by a stand-in over real HTTP."""

import base64
import hashlib
from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dimse_ingestion.failures import AccessDenied, Failure, LimitExceeded, Unavailable
from dimse_ingestion.observability.http_server import serve
from dimse_ingestion.settings import AzureBucket, S3Bucket
from dimse_ingestion.storage.contract import Bucket
from dimse_ingestion.storage.factory import open_bucket


class Store:
    """Give one answer to every request, and record the requests."""

    def __init__(self, status: int = 200, code: str = "") -> None:
        self.status = status
        self.body = f"<Error><Code>{code}</Code><Message>m</Message></Error>" if code else ""
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        methods = ["GET", "PUT", "POST", "DELETE", "HEAD"]
        self.app = Starlette(routes=[Route("/{rest:path}", self.answer, methods=methods)])

    async def answer(self, request: Request) -> Response:
        body = await request.body()
        self.requests.append((request.method, request.url.path, dict(request.headers), body))
        headers = {"etag": '"e"', "last-modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
        return Response(self.body, self.status, headers)


async def chunks(data: bytes) -> AsyncIterator[bytes]:
    yield data


def s3(port: int) -> Bucket:
    return open_bucket(S3Bucket("space", "eu-west-1", f"http://127.0.0.1:{port}", "id", "key"))


@pytest.mark.parametrize(
    ("http", "code", "kind", "sentence"),
    [
        (403, "AccessDenied", AccessDenied, "Bucket space denies access: grant it"),
        (403, "RequestTimeTooSkewed", AccessDenied, "set the clock"),
        (401, "", AccessDenied, "denies access"),
        (503, "SlowDown", Unavailable, "overloaded"),
        (429, "TooManyRequests", Unavailable, "limits the rate of requests"),
        (500, "InternalError", Unavailable, "InternalError"),
        (502, "", Unavailable, "HTTP 502"),
        (507, "XMinioStorageFull", Unavailable, "is full: free or add space"),
        (507, "", Unavailable, "is full"),
        (403, "QuotaExceeded", Unavailable, "is full: raise its quota"),
        (301, "PermanentRedirect", Unavailable, "correct BUCKET_REGION"),
        (400, "AuthorizationHeaderMalformed", Unavailable, "correct BUCKET_REGION"),
        (400, "InvalidBucketName", Unavailable, "correct BUCKET_NAME"),
    ],
)
async def test_an_answer_becomes_its_failure(
    http: int, code: str, kind: type[Failure], sentence: str
) -> None:
    async with serve(Store(http, code).app, "127.0.0.1", 0) as port:
        for size in (10, 6 << 20):
            with pytest.raises(Failure) as raised:
                await s3(port).put("x", chunks(bytes(size)), size)
            failure = raised.value
            assert (type(failure), failure.transient) == (kind, True)
            assert sentence in failure.comment
            assert sentence.partition(":")[0] in failure.public_comment


@pytest.mark.parametrize("code", ["EntityTooLarge", "RequestBodyTooLarge"])
async def test_an_object_too_large_for_the_store_stays_so(code: str) -> None:
    async with serve(Store(413, code).app, "127.0.0.1", 0) as port:
        with pytest.raises(LimitExceeded, match="takes no object of this size") as raised:
            await s3(port).put("x", chunks(b"abc"), 3)
    assert not raised.value.transient


async def test_a_small_object_is_one_put_that_carries_its_sha256() -> None:
    store = Store()
    data = bytes(range(256))
    async with serve(store.app, "127.0.0.1", 0) as port:
        await s3(port).put("a/b.dcm", chunks(data), len(data))
    [(method, path, headers, body)] = store.requests
    assert (method, path, body) == ("PUT", "/space/a/b.dcm", data)
    digest = hashlib.sha256(data)
    assert headers["x-amz-checksum-sha256"] == base64.b64encode(digest.digest()).decode()
    assert headers["x-amz-content-sha256"] == digest.hexdigest()
    assert "/eu-west-1/s3/" in headers["authorization"]


async def test_a_server_error_is_retried_few_times() -> None:
    store = Store(503, "SlowDown")
    async with serve(store.app, "127.0.0.1", 0) as port:
        with pytest.raises(Unavailable):
            await s3(port).put("x", chunks(b"abc"), 3)
    assert 2 <= len(store.requests) <= 4


async def test_requests_to_azure_follow_the_connection_string() -> None:
    store = Store(201)
    async with serve(store.app, "127.0.0.1", 0) as port:
        key = base64.b64encode(b"account key").decode()
        connection = (
            f"AccountName=images;AccountKey={key};BlobEndpoint=http://127.0.0.1:{port}/images"
        )
        await open_bucket(AzureBucket("space", connection)).put("a/b.dcm", chunks(b"abc"), 3)
    [(method, path, headers, body)] = store.requests
    assert (method, path, body) == ("PUT", "/images/space/a/b.dcm", b"abc")
    assert headers["authorization"].startswith("SharedKey images:")


async def test_a_key_refused_by_azure_has_a_sentence() -> None:
    async with serve(Store(403, "AuthenticationFailed").app, "127.0.0.1", 0) as port:
        connection = f"AccountKey=YQ==;AccountName=a;BlobEndpoint=http://127.0.0.1:{port}/a"
        with pytest.raises(AccessDenied, match="correct AZURE_STORAGE_CONNECTION_STRING"):
            await open_bucket(AzureBucket("space", connection)).check()


async def test_an_invalid_connection_string_has_a_sentence() -> None:
    with pytest.raises(Unavailable, match="neither AccountKey nor"):
        open_bucket(AzureBucket("space", "nonsense"))
