"""The audit trail of DICOMweb: stored, sent, viewed and searched studies, and refusals."""

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from tests.audit_repository import Received, Repository, certificates, tls_repository
from tests.integration.dicomweb.conftest import Space, space_in
from tests.integration.dicomweb.test_storing import body, file, post
from tests.unit.dicomweb.tokens import AUDIENCE, ISSUER, SigningKey, issuer, token

CT = Path(str(get_testdata_file("CT_small.dcm", download=False)))
CONTENT = file("CT_small.dcm")
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
TRANSFERRED, ACCESSED = "DICOM Instances Transferred", "DICOM Instances Accessed"


@asynccontextmanager
async def audited(folder: Path, **more: Any) -> AsyncIterator[tuple[Space, Repository]]:
    """Run a space with a repository; what is gathered is sent when the space ends."""
    own = certificates(folder)
    with tls_repository(own.server) as repository:
        async with space_in(
            folder / "space",
            audit_repository=repository.address,
            audit_ca_path=own.authority,
            audit_directory=folder / "audit",
            **more,
        ) as space:
            yield space, repository


def url_of(path: Path) -> str:
    head = dcmread(path, stop_before_pixels=True)
    series = f"/studies/{head.StudyInstanceUID}/series/{head.SeriesInstanceUID}"
    return f"{series}/instances/{head.SOPInstanceUID}"


async def wait_for(repository: Repository, event: str, number: int = 1) -> list[Received]:
    return await asyncio.to_thread(repository.wait_for_event, event, number)


async def test_stored_sent_and_viewed_instances_are_reported_by_study(tmp_path: Path) -> None:
    image = dcmread(CT, stop_before_pixels=True)
    async with audited(tmp_path) as (space, repository):
        assert (await post(space, body(CONTENT))).status_code == 200
        assert (await post(space, body(CONTENT))).status_code == 200
        instance = url_of(CT)
        accept = {"accept": "application/dicom; transfer-syntax=*"}
        for _ in range(3):
            assert (await space.client.get(instance, headers=accept)).status_code == 200
        study = f"/studies/{image.StudyInstanceUID}"
        multipart = {"accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
        assert (await space.client.get(study, headers=multipart)).status_code == 200
        metadata = await space.client.get(f"{instance}/metadata")
        assert metadata.status_code == 200
        for part in ("frames/1", "rendered", "thumbnail"):
            assert (await space.client.get(f"{instance}/{part}")).status_code == 200, part
        unchanged = {"if-none-match": metadata.headers["etag"]}
        assert (
            await space.client.get(f"{instance}/metadata", headers=unchanged)
        ).status_code == 304
        assert (await space.client.head(f"{instance}/metadata")).status_code == 200
    stored_new, stored_again, sent = await wait_for(repository, TRANSFERRED, 3)
    (viewed,) = await wait_for(repository, ACCESSED)
    for each in (stored_new, stored_again, sent, viewed):
        assert each.study == str(image.StudyInstanceUID)
        assert each.patient == (str(image.PatientID), str(image.PatientName))
        assert each.event_attribute("OutcomeIndicator") == "0"
        assert each.application == "dimse-dicomweb"
    actions = [each.event_attribute("ActionCode") for each in (stored_new, stored_again, sent)]
    assert actions == ["C", "R", "R"]
    assert stored_new.participants[0] == ("127.0.0.1", "110153", True)
    assert stored_new.participants[1][1] == "110152"
    assert sent.participants[1] == ("127.0.0.1", "110152", True)
    assert sent.sop_classes == {CT_IMAGE: 4}
    assert viewed.sop_classes == {CT_IMAGE: 4}
    assert viewed.participants[0] == ("127.0.0.1", "", True)


async def test_an_instance_that_is_refused_is_a_failed_transfer(tmp_path: Path) -> None:
    async with audited(tmp_path) as (space, repository):
        refused = await post(space, body(file("CT_small.dcm")), path="/studies/1.2.3")
        assert refused.status_code == 409
    (message,) = await wait_for(repository, TRANSFERRED)
    assert message.event_attribute("OutcomeIndicator") == "8"


async def test_a_search_is_reported_with_its_query(tmp_path: Path) -> None:
    async with audited(tmp_path) as (space, repository):
        await space.client.get("/studies", params={"PatientName": "Doe*"})
        (message,) = await wait_for(repository, "Query")
        query = message.object("12")
        assert query.get("ParticipantObjectID") == "/dicomweb/studies"
        assert b64decode(query.findtext("ParticipantObjectQuery")) == b"PatientName=Doe%2A"
        assert message.participants[0] == ("127.0.0.1", "110153", True)
        wrong = await space.client.get("/studies", params={"limit": "none"})
        assert wrong.status_code == 400
        failed = (await wait_for(repository, "Query", 2))[1]
        assert failed.event_attribute("OutcomeIndicator") == "8"


async def test_a_user_is_named_and_a_refusal_is_an_alert(tmp_path: Path) -> None:
    key = SigningKey("one")
    with issuer([key]) as jwks_url:
        async with audited(
            tmp_path,
            access="bearer",
            jwks_url=jwks_url,
            token_issuer=ISSUER,
            token_audience=AUDIENCE,
        ) as (space, repository):
            await space.client.get("/studies")
            await space.client.get("/studies/1.2/series")
            (alert,) = await wait_for(repository, "Security Alert")
            assert alert.type == "Node Authentication"
            assert alert.object("12").get("ParticipantObjectID") == "/dicomweb/studies"
            assert alert.object("110182").get("ParticipantObjectID") == "127.0.0.1"
            headers = {"authorization": f"Bearer {token(key, sub='doctor@hospital')}"}
            await space.client.get("/studies", headers=headers)
            (message,) = await asyncio.to_thread(
                repository.wait_for,
                lambda each: each.event == "Query" and "doctor" in each.participants[0][0],
            )
            assert message.participants[0][0] == "doctor@hospital"
    repeated = (await wait_for(repository, "Security Alert", 2))[1]
    assert repeated.detail("12", "Repetitions") == b"1"


async def test_behind_a_trusted_proxy_the_clients_address_is_reported(tmp_path: Path) -> None:
    async with audited(tmp_path, access="header", trusted_proxies="127.0.0.0/8,10.0.0.0/8") as (
        space,
        repository,
    ):
        headers = {
            "x-forwarded-user": "nurse",
            "x-forwarded-for": "203.0.113.9, 192.0.2.7, 10.1.1.1",
        }
        await space.client.get("/studies", headers=headers)
        (message,) = await wait_for(repository, "Query")
    caller = message.xml.find("ActiveParticipant")
    assert (caller.get("UserID"), caller.get("NetworkAccessPointID")) == ("nurse", "192.0.2.7")


async def test_a_transfer_that_breaks_off_is_a_failure(tmp_path: Path) -> None:
    async with audited(tmp_path) as (space, repository):
        big = dcmread(CT)
        big.Rows, big.Columns = 2048, 2048
        big.PixelData = bytes(2 * 2048 * 2048)
        path = tmp_path / "big.dcm"
        big.save_as(path)
        await space.store(path)
        port = int(space.address.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(
            f"GET /dicomweb{url_of(path)} HTTP/1.1\r\nHost: a\r\n"
            "Accept: application/dicom; transfer-syntax=*\r\n\r\n".encode()
        )
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.transport.abort()
    (message,) = await wait_for(repository, TRANSFERRED)
    assert message.event_attribute("OutcomeIndicator") == "8"


@pytest.mark.parametrize("audit", [True, False])
async def test_responses_are_the_same_with_an_audit_trail_and_without(
    tmp_path: Path, audit: bool
) -> None:
    headers = {"accept": "application/dicom; transfer-syntax=*"}
    context = audited(tmp_path) if audit else without(tmp_path)
    async with context as (space, _):
        stored = await post(space, body(CONTENT))
        got = await space.client.get(url_of(CT), headers=headers)
        data = dcmread(CT, stop_before_pixels=True)
        assert str(data.SOPInstanceUID) in stored.text
        assert got.content[-32768:] == CONTENT[-32768:]


@asynccontextmanager
async def without(folder: Path) -> AsyncIterator[tuple[Space, None]]:
    async with space_in(folder / "space") as space:
        yield space, None
