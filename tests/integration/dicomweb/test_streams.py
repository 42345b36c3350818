"""Videos and documents by WADO-RS and WADO-URI, complete and by byte range."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from pydicom import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, generate_uid

from tests.integration.dicomweb.conftest import Space, space_in
from tests.integration.dicomweb.retrieved import parts_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
EXPLICIT = "1.2.840.10008.1.2.1"
MPEG4, MPEG2, FRAGMENTABLE = (f"1.2.840.10008.1.2.4.{end}" for end in ("102", "100", "103.1"))
VIDEO_CLASS = "1.2.840.10008.5.1.4.1.1.77.1.1.1"
ENCAPSULATED = "1.2.840.10008.5.1.4.1.1.104"
MULTI_FRAME = "1.2.840.10008.5.1.4.1.1.7.2"
FILM = b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 20
PDF = b"%PDF-1.4\n" + b"p" * 3000 + b"\n%%EOF"
CDA = b'<?xml version="1.0"?><ClinicalDocument xmlns="urn:hl7-org:v3"/>'
J2K = b"\xff\x4f\xff\x51" + b"a" * 60


def instance(sop_class: str) -> Dataset:
    data_set = Dataset()
    data_set.SOPClassUID, data_set.SOPInstanceUID = sop_class, generate_uid()
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = generate_uid(), generate_uid()
    data_set.PatientName, data_set.PatientID, data_set.Modality = "Made^Up", "MADE", "OT"
    return data_set


def image(sop_class: str, frames: int, pixels: bytes) -> Dataset:
    data_set = instance(sop_class)
    data_set.Rows = data_set.Columns = 8
    data_set.SamplesPerPixel, data_set.PhotometricInterpretation = 1, "MONOCHROME2"
    data_set.BitsAllocated = data_set.BitsStored = 8
    data_set.HighBit, data_set.PixelRepresentation, data_set.NumberOfFrames = 7, 0, frames
    data_set.PixelData = pixels
    data_set["PixelData"].VR = "OB"
    return data_set


def document(end: int, content: bytes) -> Dataset:
    data_set = instance(f"{ENCAPSULATED}.{end}")
    data_set.MIMETypeOfEncapsulatedDocument = "text/html"  # must not be trusted
    data_set.EncapsulatedDocument = content + b"\0" * (len(content) % 2)
    data_set.EncapsulatedDocumentLength = len(content)
    return data_set


def with_undefined_length(file: bytes) -> bytes:
    """Return a file whose last element is pixel data of undefined length."""
    place = file.rindex(b"\xe0\x7f\x10\x00OB\0\0") + 8
    return file[:place] + b"\xff" * 4 + file[place + 4 :] + b"\xfe\xff\xdd\xe0" + bytes(4)


class Store:
    """Stores instances and knows their paths."""

    def __init__(self, space: Space, folder: Path) -> None:
        self.client = space.client
        self._space, self._folder = space, folder

    async def path(
        self, data_set: Dataset, syntax: str = EXPLICIT, *, is_undefined: bool = False
    ) -> str:
        data_set.file_meta = FileMetaDataset()
        data_set.file_meta.TransferSyntaxUID = UID(syntax)
        if "PixelData" in data_set:
            data_set["PixelData"].is_undefined_length = syntax != EXPLICIT
        file = self._folder / f"{data_set.SOPInstanceUID}.dcm"
        data_set.save_as(file, enforce_file_format=True)
        if is_undefined:
            file.write_bytes(with_undefined_length(file.read_bytes()))
        await self._space.store(file)
        series = f"/studies/{data_set.StudyInstanceUID}/series/{data_set.SeriesInstanceUID}"
        return f"{series}/instances/{data_set.SOPInstanceUID}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def store(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Store]:
    folder = tmp_path_factory.mktemp("streams")
    async with space_in(folder / "space") as opened:
        yield Store(opened, folder)


VIDEOS = [
    (MPEG4, [FILM], "video/mp4"),
    (MPEG2, [FILM[:1000], FILM[1000:]], "video/mpeg"),
    (FRAGMENTABLE, [FILM[:10], FILM[10:30], FILM[30:]], "video/mp4"),
]


async def video(store: Store, syntax: str, pieces: list[bytes]) -> str:
    pixels = encapsulate(pieces, has_bot=False)
    return await store.path(image(VIDEO_CLASS, 30, pixels), syntax)


@pytest.mark.parametrize(("syntax", "pieces", "media_type"), VIDEOS)
async def test_a_video_is_rendered_in_its_own_media_type(
    store: Store, syntax: str, pieces: list[bytes], media_type: str
) -> None:
    path = await video(store, syntax, pieces)
    for accept in ("*/*", media_type, f'multipart/related; type="{media_type}"'):
        answer = await store.client.get(f"{path}/rendered", headers={"accept": accept})
        assert answer.status_code == 200, answer.text
        if accept.startswith("multipart"):
            [(kind, content)] = parts_of(answer)
        else:
            kind, content = answer.headers["content-type"], answer.content
            assert int(answer.headers["content-length"]) == len(FILM)
        assert (kind, content) == (media_type, FILM)
    some = await store.client.get(f"{path}/rendered", headers={"range": "bytes=990-1009"})
    assert (some.status_code, some.content) == (206, FILM[990:1010])
    none = await store.client.get(f"{path}/rendered", headers={"accept": "image/jpeg"})
    assert none.status_code == 406
    assert media_type in none.json()["detail"]


@pytest.mark.parametrize(("syntax", "pieces", "media_type"), VIDEOS)
@pytest.mark.parametrize(
    "accept",
    [
        None,
        "*/*",
        "{}",
        'multipart/related; type="{}"',
        'multipart/related; type="{}"; transfer-syntax=*',
        'multipart/related; type="application/octet-stream"',
        'multipart/related; type="application/octet-stream"; transfer-syntax=*',
        "application/octet-stream",
    ],
)
async def test_a_videos_bulk_data_is_its_bytes(
    store: Store, syntax: str, pieces: list[bytes], media_type: str, accept: str | None
) -> None:
    path = await video(store, syntax, pieces)
    metadata = (await store.client.get(f"{path}/metadata")).json()[0]
    headers = {"accept": accept.format(media_type)} if accept else {"accept": ""}
    answer = await store.client.get(metadata["7FE00010"]["BulkDataURI"], headers=headers)
    assert answer.status_code == 200, answer.text
    content = answer.content
    if answer.headers["content-type"].startswith("multipart"):
        [(_, content)] = parts_of(answer)
    assert content == FILM


async def test_frames_that_cannot_be_separated_are_bulk_data_as_one_stream(store: Store) -> None:
    pieces = [J2K, *(bytes([n]) * 64 for n in range(4))]
    pixels = encapsulate(pieces, has_bot=False)
    path = await store.path(image(MULTI_FRAME, 3, pixels), "1.2.840.10008.1.2.4.90")
    address = f"{path}/bulkdata/7FE00010"
    answer = await store.client.get(address, headers={"accept": "*/*"})
    [(kind, content)] = parts_of(answer)
    assert kind == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.4.90"
    assert content == b"".join(pieces)
    decoded = await store.client.get(address, headers={"accept": "application/octet-stream"})
    assert decoded.status_code == 404
    assert "5 fragments for 3 frames" in decoded.json()["detail"]
    one = await store.client.get(f"{path}/frames/2")
    assert one.status_code == 404


@pytest.mark.parametrize(
    ("end", "content", "media_type"),
    [
        (1, PDF, "application/pdf"),
        (1, PDF[:301], "application/pdf"),  # short enough to be known to the catalogue
        (2, CDA, "text/xml"),
        (3, b"solid x\nendsolid", "model/stl"),
    ],
)
async def test_a_document_is_rendered_in_its_own_media_type(
    store: Store, end: int, content: bytes, media_type: str
) -> None:
    path = await store.path(document(end, content))
    answer = await store.client.get(f"{path}/rendered")
    assert answer.status_code == 200, answer.text
    assert (answer.headers["content-type"], answer.content) == (media_type, content)
    assert ("sandbox" in answer.headers.get("content-security-policy", "")) == (end == 2)
    none = await store.client.get(f"{path}/rendered", headers={"accept": "image/png"})
    assert none.status_code == 406
    studies, instance_uid = path.split("/")[2:], path.split("/")[-1]
    uri = f"/wado?requestType=WADO&studyUID={studies[0]}&seriesUID={studies[2]}"
    old = await store.client.get(f"{uri}&objectUID={instance_uid}&contentType={media_type}")
    assert old.content == content
    stored = await store.client.get(f"{uri}&objectUID={instance_uid}")
    assert stored.headers["content-type"].startswith("application/dicom")


async def test_bulk_data_of_a_document_is_also_returned_in_its_own_media_type(store: Store) -> None:
    path = await store.path(document(1, PDF))
    address = f"{path}/bulkdata/00420011"
    own = await store.client.get(address, headers={"accept": "application/pdf"})
    assert (own.headers["content-type"], own.content) == ("application/pdf", PDF)
    octets = await store.client.get(address, headers={"accept": "application/octet-stream"})
    assert octets.content.rstrip(b"\0") == PDF


async def test_a_study_of_an_image_and_a_video_is_rendered_as_the_image(store: Store) -> None:
    film = image(VIDEO_CLASS, 30, encapsulate([FILM], has_bot=False))
    still = image(MULTI_FRAME, 1, bytes(64))
    still.StudyInstanceUID = film.StudyInstanceUID
    path = await store.path(film, MPEG4)
    await store.path(still)
    study = path.split("/series")[0]
    for resource in ("rendered", "thumbnail"):
        answer = await store.client.get(f"{study}/{resource}", headers={"accept": "image/png"})
        assert answer.headers["content-type"] == "image/png"


async def test_icon_pixels_are_not_the_pixels_of_the_image(store: Store) -> None:
    data_set = image(MULTI_FRAME, 1, encapsulate([J2K + b"\xff\xd9"], has_bot=False))
    icon = Dataset()
    icon.Rows = icon.Columns = 64
    icon.BitsAllocated = 8
    icon.PixelData = bytes(range(256)) * 16
    icon["PixelData"].VR = "OB"
    data_set.IconImageSequence = [icon]
    path = await store.path(data_set, "1.2.840.10008.1.2.4.90")
    headers = {"accept": "application/octet-stream"}
    answer = await store.client.get(f"{path}/bulkdata/00880200/1/7FE00010", headers=headers)
    assert answer.content == icon.PixelData


async def test_fragments_in_a_native_syntax_are_bulk_data_without_item_headers(
    store: Store,
) -> None:
    data_set = image(MULTI_FRAME, 2, encapsulate([bytes(64), b"\2" * 64], has_bot=False))
    path = await store.path(data_set, is_undefined=True)
    headers = {"accept": "application/octet-stream"}
    answer = await store.client.get(f"{path}/bulkdata/7FE00010", headers=headers)
    assert answer.content == bytes(64) + b"\2" * 64
