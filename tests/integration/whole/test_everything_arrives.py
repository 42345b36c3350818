"""Every storable file that pydicom ships, sent by strangers, found again byte for byte."""

import asyncio
import hashlib
import shutil
from pathlib import Path

import pytest
from pydicom import Dataset, FileMetaDataset, dcmread
from pydicom.filebase import DicomFileLike
from pydicom.filewriter import write_file_meta_info

from dimse_ingestion.dicom.contexts import NON_PATIENT
from harness import modalities, scu
from harness.modalities import Peer
from tests.integration.whole.conftest import System
from tests.storable import NOT_STORABLE, data_set_of, shipped, storable

needs_dcmtk = pytest.mark.skipif(bool(modalities.missing()), reason=modalities.missing())


def named_rightly(path: Path, folder: Path) -> Path:
    """Return the file with file meta information that names its data set; some lack it."""
    header = dcmread(path, stop_before_pixels=True, force=True)
    meta = header.file_meta
    if meta.get("MediaStorageSOPInstanceUID") == header.SOPInstanceUID:
        return path
    right = FileMetaDataset()
    right.MediaStorageSOPClassUID = header.SOPClassUID
    right.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    right.TransferSyntaxUID = meta.TransferSyntaxUID
    copy = folder / f"{hashlib.sha256(str(path).encode()).hexdigest()[:8]}-{path.name}"
    with copy.open("wb") as file:
        file.write(bytes(128) + b"DICM")
        write_file_meta_info(DicomFileLike(file), right, enforce_standard=True)
        file.write(data_set_of(path))
    return copy


def test_every_storable_file_arrives_byte_for_byte(shared: System, tmp_path: Path) -> None:
    files = [named_rightly(path, tmp_path) for path in storable()]
    answers = scu.store(shared.peer, files)
    assert {a.path.name: (hex(a.status), a.comment) for a in answers if a.status != 0} == {}
    objects = shared.objects()
    for path in storable():
        data_set = data_set_of(path)
        stored = objects[hashlib.sha256(data_set).hexdigest()].read_bytes()
        assert stored.endswith(data_set), path.name
        assert dcmread(objects[hashlib.sha256(data_set).hexdigest()], stop_before_pixels=True)
    for header in (dcmread(path, stop_before_pixels=True) for path in files):
        assert shared.catalogued(header.SOPInstanceUID)


def test_what_cannot_be_stored_is_refused_and_leaves_nothing(
    shared: System, tmp_path: Path
) -> None:
    refused = [
        each.path
        for each in shipped()
        if "middle of a value" in each.reason or "no Study" in each.reason
    ]
    before = set(shared.objects())
    answers = scu.store(shared.peer, [named_rightly(path, tmp_path) for path in refused])
    for answer in answers:
        name = answer.path.name.rpartition("-")[2]
        if dcmread(answer.path, stop_before_pixels=True).SOPClassUID in NON_PATIENT:
            assert "No presentation context" in answer.comment
        else:
            middle = "middle" in NOT_STORABLE.get(name, "")
            assert answer.status == (0xC000 if middle else 0xA900), name
    assert set(shared.objects()) == before


@needs_dcmtk
async def test_storescu_sends_a_folder_several_at_once(shared: System, tmp_path: Path) -> None:
    folder = Path(str(dcmread_folder()))
    shutil.copytree(folder, tmp_path / "images")
    runs = [
        modalities.storescu(shared.peer, tmp_path / "images", options=("+sd", "+r", "-v"))
        for _ in range(4)
    ]
    for ended in await asyncio.gather(*runs):
        assert ended.status == 0, ended.output[-2000:]


def dcmread_folder() -> Path:
    return next(path for path in storable() if path.parent.name == "CT2").parent.parent


@needs_dcmtk
@pytest.mark.parametrize(
    ("options", "keys"),
    [
        (("-P",), ("QueryRetrieveLevel=PATIENT", "PatientName=", "PatientID=")),
        (("-P",), ("QueryRetrieveLevel=STUDY", "PatientID=77654033", "StudyInstanceUID=")),
        (("-S",), ("QueryRetrieveLevel=STUDY", "PatientName=DOE*", "StudyInstanceUID=")),
    ],
)
async def test_findscu_finds(
    shared: System, options: tuple[str, ...], keys: tuple[str, ...]
) -> None:
    folder = dcmread_folder()
    assert all(a.status == 0 for a in scu.store(shared.peer, sorted(folder.rglob("*/*"))))
    ended = await modalities.findscu(shared.peer, *keys, options=options)
    assert ended.status == 0
    assert "Doe^Archibald" in ended.output or "77654033" in ended.output


@needs_dcmtk
async def test_findscu_goes_down_every_level(shared: System) -> None:
    folder = dcmread_folder()
    assert all(a.status == 0 for a in scu.store(shared.peer, sorted(folder.rglob("*/*"))))
    header = dcmread(next(iter(sorted((folder / "CT2").iterdir()))), stop_before_pixels=True)
    series = (
        "QueryRetrieveLevel=SERIES",
        f"StudyInstanceUID={header.StudyInstanceUID}",
        "SeriesInstanceUID=",
        "NumberOfSeriesRelatedInstances=",
    )
    ended = await modalities.findscu(shared.peer, *series)
    assert str(header.SeriesInstanceUID) in ended.output
    images = (
        "QueryRetrieveLevel=IMAGE",
        f"StudyInstanceUID={header.StudyInstanceUID}",
        f"SeriesInstanceUID={header.SeriesInstanceUID}",
        "SOPInstanceUID=",
        "InstanceNumber=",
    )
    ended = await modalities.findscu(shared.peer, *images)
    assert ended.output.count("SOPInstanceUID") >= 4


@needs_dcmtk
async def test_findscu_cancels(shared: System) -> None:
    ended = await modalities.findscu(
        shared.peer,
        "QueryRetrieveLevel=STUDY",
        "StudyInstanceUID=",
        options=("-S", "--cancel", "1", "-v"),
    )
    assert ended.status == 0
    assert "Cancel" in ended.output or "Success" in ended.output


@pytest.mark.parametrize(
    ("file", "pattern", "name", "character_set"),
    [
        ("chrH31.dcm", "山田*", "Yamada^Tarou=山田^太郎=やまだ^たろう", ["", "ISO 2022 IR 87"]),
        ("chrI2.dcm", "*길동", "Hong^Gildong=洪^吉洞=홍^길동", ["", "ISO 2022 IR 149"]),
        ("chrX2.dcm", "王^小东", "Wang^XiaoDong=王^小东", "GB18030"),
        ("chrRuss.dcm", "ЛЮК*", "Люкceмбypг", "ISO_IR 144"),
        ("chrGreek.dcm", "διον*", "Διονυσιος", "ISO_IR 126"),
        ("chrArab.dcm", "قباني*", "قباني^لنزار", "ISO_IR 127"),
        ("chrHbrw.dcm", "שרון*", "שרון^דבורה", "ISO_IR 138"),
    ],
)
def test_names_in_other_scripts_match_and_come_back_right(
    shared: System, file: str, pattern: str, name: str, character_set: object
) -> None:
    (path,) = [each for each in storable() if each.name == file]
    assert scu.store(shared.peer, [path])[0].status == 0
    identifier = Dataset()
    identifier.SpecificCharacterSet = "ISO_IR 192"
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.PatientName = pattern
    identifier.StudyInstanceUID = ""
    matches = scu.find(shared.peer, identifier)
    assert name in {str(match.PatientName).rstrip("=") for match in matches}
    (match,) = [m for m in matches if str(m.PatientName).rstrip("=") == name]
    assert match.SpecificCharacterSet == character_set


@pytest.mark.parametrize(("combined", "result"), [(b"\x00\x01", 1), (b"\x00\x00", 0)])
def test_a_date_and_its_time_are_one_range_when_negotiated(
    shared: System, combined: bytes, result: int
) -> None:
    (path,) = [each for each in storable() if each.name == "CT_small.dcm"]
    assert scu.store(shared.peer, [path])[0].status == 0
    header = dcmread(path, stop_before_pixels=True)
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.StudyInstanceUID = header.StudyInstanceUID
    identifier.StudyDate = f"{int(header.StudyDate) - 1}-{int(header.StudyDate) + 1}"
    identifier.StudyTime = "2359-0001"
    assert len(scu.find(shared.peer, identifier, extended=combined)) == result


def test_an_echo_goes_all_the_way(shared: System) -> None:
    assert scu.echo(shared.peer) == 0
    assert scu.echo(Peer("127.0.0.1", shared.space.dimse_port, calling="OTHER")) == 0


def test_no_patient_data_in_any_log(shared: System) -> None:
    (path,) = [each for each in storable() if each.name == "chrGerm.dcm"]
    scu.store(shared.peer, [path])
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.PatientName = "Äneas*"
    identifier.SpecificCharacterSet = "ISO_IR 192"
    scu.find(shared.peer, identifier)
    for service in shared.space.services:
        text = "\n".join(service.lines()) + service.get("/metrics")[1]
        for secret in ("neas", "SCSGERM", "Rüdiger", "Doe^", "DOE"):
            assert secret not in text, f"{service.arguments} shows {secret}"
