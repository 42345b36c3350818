"""STOW-RS over HTTP: instances are stored unchanged, or refused with a reason, never in part."""

import asyncio
import hashlib
import re
import shutil
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file

from tests.integration.dicomweb.conftest import Space, space_in
from tests.storable import data_set_of, storable

RELATED = 'multipart/related; type="application/dicom"; boundary=frontier'


def file(name: str) -> bytes:
    return Path(str(get_testdata_file(name, download=False))).read_bytes()


def body(*instances: bytes, end: bytes = b"--frontier--\r\n") -> bytes:
    head = b"--frontier\r\nContent-Type: application/dicom\r\n\r\n"
    return b"".join(head + each + b"\r\n" for each in instances) + end


async def post(
    space: Space, content: bytes, kind: str = RELATED, path: str = "/studies", **headers: str
) -> httpx2.Response:
    return await space.client.post(path, content=content, headers={"content-type": kind, **headers})


def data_set_of_response(response: httpx2.Response) -> Dataset:
    return Dataset.from_json(response.json())


async def stored_keys(space: Space) -> list[str]:
    return [each.key async for each in space.backends.bucket.list("instances/")]


def reasons(response: httpx2.Response) -> list[int]:
    return [item.FailureReason for item in data_set_of_response(response).FailedSOPSequence]


async def test_every_storable_file_is_stored_byte_for_byte(tmp_path: Path) -> None:
    async with space_in(tmp_path) as space:
        files = storable()
        for start in range(0, len(files), 40):
            group = [path.read_bytes() for path in files[start : start + 40]]
            response = await post(space, body(*group))
            assert response.status_code == 200, response.text
            assert len(data_set_of_response(response).ReferencedSOPSequence) == len(group)
        found = {key.split("/")[2].partition("-")[0] for key in await stored_keys(space)}
    assert found == {hashlib.sha256(data_set_of(path)).hexdigest() for path in files}


async def test_dicomweb_client_finds_and_retrieves_what_it_stores(space: Space) -> None:
    client = DICOMwebClient(space.base)
    instance = dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    response = await asyncio.to_thread(client.store_instances, [instance])
    (referenced,) = response.ReferencedSOPSequence
    assert referenced.ReferencedSOPInstanceUID == instance.SOPInstanceUID
    own = f"/dicomweb/studies/{instance.StudyInstanceUID}/series/{instance.SeriesInstanceUID}"
    assert f"{own}/instances/{instance.SOPInstanceUID}" in referenced.RetrieveURL
    uids = instance.StudyInstanceUID, instance.SeriesInstanceUID, instance.SOPInstanceUID
    (found,) = await asyncio.to_thread(
        client.search_for_instances, search_filters={"SOPInstanceUID": uids[2]}
    )
    assert found["00080018"]["Value"] == [uids[2]]
    again = await asyncio.to_thread(client.retrieve_instance, *uids)
    assert again == instance


async def test_one_instance_needs_no_multipart(space: Space) -> None:
    response = await post(space, file("MR_small.dcm"), "application/dicom")
    assert response.status_code == 200
    assert len(await stored_keys(space)) == 1


async def test_the_same_instance_again_is_stored_once(space: Space) -> None:
    for _ in range(2):
        assert (await post(space, body(file("MR_small.dcm")))).status_code == 200
    assert len(await stored_keys(space)) == 1


KNOWN = "was known with other content"


def ct_with(study: str = "", **more: str) -> bytes:
    """Return CT_small with other values."""
    instance = dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    instance.StudyInstanceUID = study or instance.StudyInstanceUID
    for keyword, value in more.items():
        setattr(instance, keyword, value)
    written = BytesIO()
    instance.save_as(written)
    return written.getvalue()


@pytest.mark.parametrize("policy", ["latest", "first"])
async def test_other_content_of_a_uid_is_stored_with_a_warning(tmp_path: Path, policy: str) -> None:
    async with space_in(tmp_path, policy=policy) as space:
        first = await post(space, body(ct_with(PatientID="A")))
        assert (first.status_code, "warning" in first.headers) == (200, False)
        for other in (ct_with(PatientID="B"), ct_with("1.2.3.4", PatientID="A")):
            response = await post(space, body(other, file("MR_small.dcm")))
            assert response.status_code == 200
            assert len(data_set_of_response(response).ReferencedSOPSequence) == 2
            assert response.headers["warning"].count(KNOWN) == 1
        assert len(await stored_keys(space)) == 4


async def test_other_content_of_a_uid_in_one_request_has_a_warning(space: Space) -> None:
    response = await post(space, body(ct_with(PatientID="A"), ct_with(PatientID="B")))
    assert response.status_code == 200
    assert KNOWN in response.headers["warning"]


@pytest.mark.parametrize(
    "kind", [b"a/\x00b", b"a/b\nX: y", b"a/\x01b", b'a/"b', b"a/\\b", "a/\u20acb".encode(), b'"']
)
async def test_any_content_type_of_a_part_is_handled(space: Space, kind: bytes) -> None:
    bad = b"--frontier\r\nContent-Type: " + kind + b"\r\n\r\nx\r\n"
    response = await post(space, bad + body(file("MR_small.dcm")))
    assert response.status_code == 202
    assert len(data_set_of_response(response).ReferencedSOPSequence) == 1
    quoted = r'"(?:[ !#-\[\]-~]|\\["\\])*"'
    assert re.fullmatch(rf"299 \S+ {quoted}", response.headers["warning"])


async def test_one_bad_instance_fails_alone(space: Space) -> None:
    response = await post(space, body(file("MR_small.dcm"), file("MR_truncated.dcm"), b"no file"))
    assert response.status_code == 202
    assert len(data_set_of_response(response).ReferencedSOPSequence) == 1
    assert reasons(response) == [0xC000]
    assert [
        each.FailureReason for each in data_set_of_response(response).OtherFailuresSequence
    ] == [0xC000]
    assert "ends early" in response.headers["warning"]
    assert len(await stored_keys(space)) == 1


@pytest.mark.parametrize("name", ["UN_sequence.dcm", "rtstruct.dcm", "JPEGLSNearLossless_08.dcm"])
async def test_an_invalid_instance_is_409(space: Space, name: str) -> None:
    response = await post(space, body(file(name)))
    assert response.status_code == 409
    assert not await stored_keys(space)


async def test_an_instance_of_another_study_than_the_url_fails(space: Space) -> None:
    wrong = await post(space, body(file("MR_small.dcm")), path="/studies/1.2.3")
    assert wrong.status_code == 409
    assert reasons(wrong) == [0xA900]
    own = dcmread(str(get_testdata_file("MR_small.dcm", download=False))).StudyInstanceUID
    right = await post(space, body(file("MR_small.dcm")), path=f"/studies/{own}")
    assert right.status_code == 200
    assert data_set_of_response(right).RetrieveURL == f"{space.base}/studies/{own}"


async def test_the_response_is_xml_if_accepted(space: Space) -> None:
    wanted = 'multipart/related; type="application/dicom+xml"'
    response = await post(space, body(file("MR_small.dcm")), accept=wanted)
    assert response.headers["content-type"].startswith("multipart/related")
    assert b'keyword="ReferencedSOPSequence"' in response.content


@pytest.mark.parametrize(
    ("content", "kind", "status", "reason"),
    [
        (body(file("MR_small.dcm"))[:-30], RELATED, 400, "ends in part 1"),
        (body(), RELATED, 400, "no part"),
        (b"", RELATED, 400, "before its first part"),
        (body(file("MR_small.dcm")), RELATED.replace("frontier", "other"), 400, "malformed"),
        (body(file("MR_small.dcm")), "multipart/related", 400, "boundary"),
        (b"{}", "application/json", 415, "multipart/related"),
        (b"", "", 415, "missing"),
        (b"--frontier\r\n" + b"X: y\r\n" * 50 + b"\r\n", RELATED, 400, "header count"),
    ],
)
async def test_a_malformed_request_is_refused(
    space: Space, content: bytes, kind: str, status: int, reason: str
) -> None:
    response = await post(space, content, kind)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert reason in response.json()["detail"]
    assert not await stored_keys(space)
    assert (await post(space, body(file("CT_small.dcm")))).status_code == 200


async def test_complete_instances_before_an_error_are_stored_and_counted(space: Space) -> None:
    response = await post(space, body(file("MR_small.dcm"), file("CT_small.dcm"))[:-50])
    assert response.status_code == 400
    assert "1 instances were stored" in response.json()["detail"]
    assert len(await stored_keys(space)) == 1


async def test_more_parts_or_bytes_than_the_limit_are_413(tmp_path: Path) -> None:
    async with space_in(tmp_path, maximum_parts=100, maximum_body=200_000) as space:
        many = await post(space, body(*[b"x"] * 10_000))
        assert many.status_code == 413
        assert "DICOMWEB_MAXIMUM_PARTS" in many.json()["detail"]
        much = await post(space, body(bytes(300_000)))
        assert much.status_code == 413
        assert "DICOMWEB_MAXIMUM_BODY" in much.json()["detail"]
        assert not await stored_keys(space)


async def test_an_idle_client_is_408_and_nothing_is_stored(tmp_path: Path) -> None:
    async with space_in(tmp_path, silence=0.2) as space:
        address = urlsplit(space.address)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        head = (
            f"POST /dicomweb/studies HTTP/1.1\r\nHost: {address.netloc}\r\n"
            f"Content-Type: {RELATED}\r\nContent-Length: 100000\r\n\r\n"
        )
        writer.write(head.encode() + body(file("MR_small.dcm"))[:5000])
        assert b" 408 " in await asyncio.wait_for(reader.readline(), 10)
        writer.close()
        assert not await stored_keys(space)


async def test_an_unavailable_bucket_is_503_and_a_retry_succeeds(
    space: Space, tmp_path: Path
) -> None:
    bucket, elsewhere = tmp_path / "space" / "bucket", tmp_path / "elsewhere"
    shutil.move(bucket, elsewhere)
    away = await post(space, body(file("MR_small.dcm")))
    shutil.move(elsewhere, bucket)
    assert away.status_code == 503, away.text
    assert away.headers["retry-after"] == "1"
    assert (await post(space, body(file("MR_small.dcm")))).status_code == 200


async def test_concurrent_requests_are_all_stored(space: Space) -> None:
    requests = [body(path.read_bytes()) for path in storable()[:30]]
    answers = await asyncio.gather(*(post(space, each) for each in requests))
    assert {answer.status_code for answer in answers} == {200}


async def streamed(content: bytes, piece: int = 3) -> AsyncIterator[bytes]:
    for start in range(0, len(content), piece):
        yield content[start : start + piece]


async def test_a_chunked_body_in_small_pieces_is_stored(space: Space) -> None:
    content = body(file("MR_small.dcm"))
    response = await space.client.post(
        "/studies", content=streamed(content, 100), headers={"content-type": RELATED}
    )
    assert response.status_code == 200
    assert len(await stored_keys(space)) == 1


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, x-gzip"])
async def test_a_compressed_body_is_415(space: Space, encoding: str) -> None:
    content = file("CT_small.dcm")
    headers = {"content-type": "application/dicom", "content-encoding": encoding}
    response = await space.client.post("/studies", content=content, headers=headers)
    assert (response.status_code, response.headers["accept-encoding"]) == (415, "identity")
    assert "Content-Encoding" in response.json()["detail"]
    headers["content-encoding"] = "identity"
    response = await space.client.post("/studies", content=content, headers=headers)
    assert response.status_code == 200
