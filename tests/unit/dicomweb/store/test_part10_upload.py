"""Part-10 files in pieces of any size: described as pydicom reads them, or refused."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.dicomweb.store.part10_upload import Part10Upload
from dimse_ingestion.failures import Unavailable
from dimse_ingestion.operations.event_builder import Instance
from dimse_ingestion.spooling.spool import Limits, Spool
from tests.storable import data_set_of, storable


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool", Limits(memory=64 * 1024))
    spool.prepare()
    yield spool
    spool.close()


def file(name: str) -> bytes:
    return Path(str(get_testdata_file(name, download=False))).read_bytes()


async def upload_file(
    spool: Spool, content: bytes, size: int = 10_000
) -> tuple[Part10Upload, Instance]:
    upload = Part10Upload(spool.open("operation"))
    for start in range(0, len(content), size):
        await upload.write(content[start : start + size])
    return upload, await upload.seal()


@pytest.mark.parametrize("path", storable(), ids=lambda path: path.name)
async def test_every_storable_file_is_described_as_it_is(spool: Spool, path: Path) -> None:
    upload, instance = await upload_file(spool, path.read_bytes())  # noqa: ASYNC240 - a small file of a test
    expected = dcmread(path, stop_before_pixels=True)
    data_set = data_set_of(path)
    assert b"".join([chunk async for chunk in upload.chunks()]) == data_set
    assert instance == Instance(
        sop_class_uid=expected.SOPClassUID,
        sop_instance_uid=expected.SOPInstanceUID,
        transfer_syntax_uid=expected.file_meta.TransferSyntaxUID,
        size=len(data_set),
        sha256=hashlib.sha256(data_set).hexdigest(),
    )
    assert upload.identity.study_instance_uid == expected.StudyInstanceUID
    upload.close()


@pytest.mark.parametrize("size", [1, 7, 144, 1000])
async def test_the_size_of_the_pieces_makes_no_difference(spool: Spool, size: int) -> None:
    content = file("MR_small.dcm")
    assert (await upload_file(spool, content, size))[1] == (await upload_file(spool, content))[1]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "ends within its file meta information"),
        (file("CT_small.dcm")[:200], "ends within its file meta information"),
        (b"no DICOM at all" * 100, "no preamble"),
        (
            bytes(128) + b"DICM\x02\x00\x00\x00UL\x04\x00\xff\xff\xff\x7f" + bytes(100),
            "no transfer syntax",
        ),
        (
            bytes(128)
            + b"DICM\x02\0\0\0UL\x04\0"
            + bytes(4)
            + b"\2\0\1\0OB\0\0\0\0\1\0"
            + bytes(2**17),
            "has over",
        ),
        (file("CT_small.dcm")[:600], "ends early"),
    ],
)
async def test_a_part_that_is_no_dicom_file_is_refused(
    spool: Spool, content: bytes, reason: str
) -> None:
    with pytest.raises(DimseFailure, match=reason) as failure:
        await upload_file(spool, content)
    assert failure.value.status == Status.CANNOT_UNDERSTAND


async def test_an_instance_without_uids_is_refused(spool: Spool) -> None:
    with pytest.raises(DimseFailure, match="0008,0018") as failure:
        await upload_file(spool, file("UN_sequence.dcm"))
    assert failure.value.status == Status.DOES_NOT_MATCH_SOP_CLASS


async def test_a_full_spool_fails_the_upload_and_is_released(tmp_path: Path) -> None:
    spool = Spool(tmp_path, Limits(memory=1000, disk=10_000))
    upload = Part10Upload(spool.open("operation"))
    await upload.write(file("CT_small.dcm"))
    with pytest.raises(Unavailable, match="spool is full") as failure:
        await upload.seal()
    upload.close()
    assert failure.value.transient
    assert (spool.memory_used, spool.disk_used) == (0, 0)
    spool.close()
